"""The longest answers first."""

from __future__ import annotations

import msgspec

from finetop.core.select import Choice
from finetop.core.select._pool import Pool, answer_of

ABOUT = "the longest answers first, in characters"
PAPER = "Zhao et al. 2024, Long Is More for Alignment, arXiv:2402.04833"
NEEDS_MODEL = False


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """It has no settings."""


def choose(pool: Pool, options: Options, seed: int) -> Choice:
    """Order rows by the length of what is learned; of two that are as long, the one that stands first."""
    lengths = [float(len(answer_of(record))) for record in pool.records("measuring answers")]
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    return Choice(order, lengths, "characters of the answer")
