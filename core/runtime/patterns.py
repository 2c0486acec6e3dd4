"""Shapes that something has in text, and where they are found: what secrets and personal data are told by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator, Sequence


class Hit(NamedTuple):
    """What was found, and where in the text."""

    kind: str
    start: int
    end: int


class Shape(NamedTuple):
    kind: str
    hints: tuple[
        str, ...
    ]  # one of these stands in every text that has it: looked for first, 20 times as fast
    pattern: re.Pattern[str]
    is_real: Callable[[re.Match[str]], bool] = lambda _: True
    needs: str = ""  # stands in every one of its hints, and in few texts


def has_hint(shape: Shape, text: str) -> bool:
    """Tell quickly that a text has nothing of a shape."""
    if shape.needs not in text:
        return False
    for hint in shape.hints:  # no any(): of a generator it takes three times as long
        if hint in text:
            return True
    return not shape.hints


def hits_of(shapes: Sequence[Shape], text: str) -> Iterator[Hit]:
    """Find what has one of these shapes; of what overlaps, the first shape's."""
    taken: list[tuple[int, int]] = []
    for shape in shapes:
        if not has_hint(shape, text):
            continue
        for found in shape.pattern.finditer(text):
            start, end = found.span(found.lastindex or 0)
            if any(start < other_end and end > other for other, other_end in taken):
                continue
            if shape.is_real(found):
                taken.append((start, end))
                yield Hit(shape.kind, start, end)
