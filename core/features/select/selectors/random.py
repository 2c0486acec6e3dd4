"""Rows drawn at random: the baseline that a selector must beat."""

from __future__ import annotations

from finetop.core.features.select.pool import Pool
from finetop.core.features.select.selectors import Choice, NoSettings, Selector


class Random(Selector[NoSettings]):
    about = "rows drawn at random: the control that any other must beat"
    paper = "Diddee & Ippolito 2024, Chasing Random, arXiv:2410.15225: often no worse than the others"
    options = NoSettings

    def choose(self, pool: Pool, options: NoSettings, seed: int) -> Choice:
        """Shuffle the rows by the seed."""
        return Choice(shuffled(len(pool), seed))


def shuffled(count: int, seed: int) -> list[int]:
    """Return the numbers from 0 to `count` - 1 in an order that depends only on the seed."""
    import numpy as np

    return [int(place) for place in np.random.default_rng(seed).permutation(count)]


PLUGIN = Random()
