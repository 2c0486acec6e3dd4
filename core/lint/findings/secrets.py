"""Keys, tokens and passwords in texts, by their known shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.lint.tally import Sight, sights
from finetop.core.runtime.secret_patterns import PASSWORD, secrets_in

if TYPE_CHECKING:
    from finetop.core.lint.row import Lens, Row

ABOUT = "keys, tokens and passwords"
WHY = "A model that is trained on a secret can be asked for it. Whoever has the file has the secret: revoke it first."
FIX = ""
DO = "revoke the keys and passwords, then remove them from the rows"
SEVERITY = "error"
ONE_IS_MANY = True


def look(row: Row, lens: Lens) -> list[Sight] | None:
    """See them in every text of a row."""
    found = sights(row, secrets_in)
    if PASSWORD in found and _is_made_up(row):
        del found[PASSWORD]
    return list(found.values()) or None


def _is_made_up(row: Row) -> bool:
    """Tell whether a password was asked to be generated: it is nobody's."""
    texts = [turn.text.lower() for turn in row.turns]
    return any("generat" in text and "passw" in text for text in texts)
