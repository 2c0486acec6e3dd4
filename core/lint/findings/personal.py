"""Personal data in texts: e-mail addresses, phone numbers, IBANs, payment cards, addresses of machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.lint.patterns import personal_in
from finetop.core.lint.tally import Sight, excerpt

if TYPE_CHECKING:
    from finetop.core.lint.row import Lens, Row

ABOUT = "personal data"
WHY = "A model can repeat addresses and numbers of persons that it was trained on; laws such as the GDPR apply to both."
FIX = ""
SEVERITY = "warning"


def look(row: Row, lens: Lens) -> list[Sight] | None:
    """See them in every text of a row."""
    found = {
        hit.kind: Sight(hit.kind, excerpt(turn.text, hit.start, hit.end))
        for turn in row.turns
        for hit in personal_in(turn.text)
    }
    return list(found.values()) or None
