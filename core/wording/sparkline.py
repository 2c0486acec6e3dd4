"""A series of numbers as a line of blocks: for tables, in the app and in reports."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw values as at most `width` blocks, each the mean of its share; the lowest block is the lowest value."""
    if not values or width < 1:
        return ""
    bins = min(width, len(values))
    edges = [i * len(values) // bins for i in range(bins + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    if math.isclose(low, high):  # means of equal values differ in their last digit
        return BLOCKS[0] * bins
    return "".join(BLOCKS[round((mean - low) / (high - low) * 7)] for mean in means)
