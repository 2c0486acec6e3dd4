"""Keys, tokens and passwords in texts, by their known shapes."""

from __future__ import annotations

from finetop.core.features.lint.findings import Rule, Sight, sights
from finetop.core.features.lint.row import Lens, Row
from finetop.core.runtime.secret_patterns import PASSWORD, secrets_in


class Secrets(Rule):
    about = "keys, tokens and passwords"
    why = (
        "A model that is trained on a secret can be asked for it."
        " Whoever has the file has the secret: revoke it first."
    )
    do = "revoke the keys and passwords, then remove them from the rows"
    severity = "error"
    is_grave = True

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        hits = sights(row, secrets_in)
        texts = [turn.text.lower() for turn in row.turns]
        if PASSWORD in hits and any("generat" in text and "passw" in text for text in texts):
            del hits[PASSWORD]  # one that is made up on request is nobody's
        return list(hits.values()) or None


PLUGIN = Secrets()
