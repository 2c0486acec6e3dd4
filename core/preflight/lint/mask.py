"""Masks secrets and personal data in what a report shows: a report must not spread what it warns of."""

from __future__ import annotations

from itertools import chain

from finetop.core.preflight.lint.pii_patterns import personal_in
from finetop.core.preflight.lint.secret_patterns import secrets_in

SEEN = 4  # first characters that stay


def masked(text: str) -> str:
    """Put dots in place of what is secret; the text keeps its length."""
    for hit in list(chain(secrets_in(text), personal_in(text))):
        seen = min(SEEN, (hit.end - hit.start) // 3)
        text = text[: hit.start + seen] + "•" * (hit.end - hit.start - seen) + text[hit.end :]
    return text
