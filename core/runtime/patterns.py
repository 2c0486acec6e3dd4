"""Text patterns and where they match, used to detect secrets and personal data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple


class Hit(NamedTuple):
    """A match: what it is, and where in the text."""

    kind: str
    start: int
    end: int


class Shape(NamedTuple):
    kind: str
    # one of these stands in every text that has it: looked for first, 20 times as fast
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    is_real: Callable[[re.Match[str]], bool] = lambda _: True
    needs: str = ""  # contained in all of its hints, and in few texts


def has_hint(shape: Shape, text: str) -> bool:
    """Return False if a text certainly has no match: a quick test."""
    if shape.needs not in text:
        return False
    for hint in shape.hints:  # no any(): with a generator it takes three times as long
        if hint in text:
            return True
    return not shape.hints


def hits_of(shapes: Sequence[Shape], text: str) -> Iterator[Hit]:
    """Yield the matches of these shapes; of overlapping ones, the first shape's."""
    spans: list[tuple[int, int]] = []
    for shape in shapes:
        if not has_hint(shape, text):
            continue
        for match in shape.pattern.finditer(text):
            start, end = match.span(match.lastindex or 0)
            if any(start < other_end and end > other_start for other_start, other_end in spans):
                continue
            if shape.is_real(match):
                spans.append((start, end))
                yield Hit(shape.kind, start, end)
