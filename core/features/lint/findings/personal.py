"""Personal data in texts: e-mail addresses, phone numbers, IBANs, payment cards, IP addresses."""

from __future__ import annotations

from finetop.core.features.lint.findings import Rule, Sight, sights
from finetop.core.features.lint.pii_patterns import personal_in
from finetop.core.features.lint.row import Lens, Row


class Personal(Rule):
    about = "personal data"
    why = (
        "A model can repeat people's addresses and phone numbers that it was trained on; laws such as the"
        " GDPR apply to data and model."
    )
    do = "replace personal data with placeholders"

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        return list(sights(row, personal_in).values()) or None


PLUGIN = Personal()
