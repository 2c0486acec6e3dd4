"""Lines in braille dots: a cell is 2 dots wide and 4 high. Pure functions on dots, which know nothing of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_UPPER, _LOWER = 0x1B, 0xE4  # the dots of a cell's two halves

Band = tuple[int, int, int]  # dot column, topmost dot row, bottommost dot row
Bits = dict[tuple[int, int], int]  # (row, column) of a cell -> its dots


def joined(bands: Sequence[Band]) -> list[Band]:
    """Join neighbours to a line. In a dense curve a missing column stays a gap."""
    gaps = [after[0] - before[0] for before, after in pairwise(bands)]
    usual = median(gaps) if gaps else 1
    line = list(bands)
    for before, after in pairwise(bands):
        if usual > 2 or after[0] - before[0] <= max(2, math.ceil(1.5 * usual)):
            line += _between(before, after)
    return line


def _between(before: Band, after: Band) -> list[Band]:
    """Return the dots of a straight line between two bands, from the ends that face each other."""
    (x0, top0, bottom0), (x1, top1, bottom1) = before, after
    if top1 > bottom0:
        y0, y1 = bottom0, top1
    elif top0 > bottom1:
        y0, y1 = top0, bottom1
    else:
        y0 = y1 = max(top0, top1)
    steps = x1 - x0
    heights = [round(y0 + (y1 - y0) * x / steps) for x in range(steps + 1)]
    dots: list[Band] = [(x0 + x, y, y) for x, y in enumerate(heights) if 0 < x < steps]
    for x, (here, there) in enumerate(pairwise(heights)):
        # a jump of several rows: each of the two columns takes its half of it, so that the line has no hole
        middle = (here + there) // 2
        if there > here + 1:
            dots += [(x0 + x, here, middle), (x0 + x + 1, middle + 1, there)]
        elif here > there + 1:
            dots += [(x0 + x, middle + 1, here), (x0 + x + 1, there, middle)]
    return dots


def thickened(bands: Sequence[Band], rows: int) -> list[Band]:
    """Give a line two dots' weight: each of its dots has one below it, at the bottom one above it."""
    lowest = 4 * rows - 1
    return [
        (column, top, bottom + 1) if bottom < lowest else (column, max(0, top - 1), bottom)
        for column, top, bottom in bands
    ]


def bits_of(bands: Sequence[Band]) -> Bits:
    """Set the dots of a line in the cells that they are in."""
    bits: Bits = {}
    for column, top, bottom in bands:
        for y in range(top, bottom + 1):
            at = (y // 4, column // 2)
            bits[at] = bits.get(at, 0) | _DOTS[column % 2][y % 4]
    return bits


def glyph(bits: int, *, only_ascii: bool) -> str:
    """Return the letter of a cell's dots."""
    if not only_ascii:
        return chr(0x2800 + bits)
    return "." if bits & _LOWER and not bits & _UPPER else "'" if bits & _UPPER and not bits & _LOWER else ":"
