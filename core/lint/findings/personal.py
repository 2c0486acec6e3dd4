"""Personal data in texts: e-mail addresses, phone numbers, IBANs, payment cards, addresses of machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.lint.pii_patterns import personal_in
from finetop.core.lint.tally import Sight, sights

if TYPE_CHECKING:
    from finetop.core.lint.row import Lens, Row

ABOUT = "personal data"
WHY = (
    "A model can repeat people's addresses and phone numbers that it was trained on; laws such as the"
    " GDPR apply to data and model."
)
FIX = ""
DO = "replace personal data with placeholders"
SEVERITY = "warning"


def look(row: Row, lens: Lens) -> list[Sight] | None:
    """See them in every text of a row."""
    return list(sights(row, personal_in).values()) or None
