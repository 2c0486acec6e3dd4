"""Rows drawn at random: the control, which a selector must better to be worth anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core.select import Choice

if TYPE_CHECKING:
    from finetop.core.select._pool import Pool

ABOUT = "rows drawn at random: the control that any other must beat"
PAPER = "Diddee & Ippolito 2024, Chasing Random, arXiv:2410.15225: often no worse than the others"
NEEDS_MODEL = False


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """It has no settings."""


def choose(pool: Pool, options: Options, seed: int) -> Choice:
    """Shuffle the rows by the seed."""
    return Choice(shuffled(len(pool), seed))


def shuffled(count: int, seed: int) -> list[int]:
    """Return the numbers from 0 to `count` - 1 in an order that the seed alone decides."""
    import numpy as np

    return [int(place) for place in np.random.default_rng(seed).permutation(count)]
