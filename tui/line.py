"""One line of text in coloured spans, as every widget draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len

from finetop.tui.theme import StyleName

if TYPE_CHECKING:
    from collections.abc import Iterable

Span: TypeAlias = tuple[str, StyleName]
Line: TypeAlias = tuple[Span, ...]


def line_width(line: Line) -> int:
    """Count the cells of a line."""
    return sum(cell_len(text) for text, _ in line)


def joined(spans: Iterable[Span]) -> Line:
    """Join spans that stand beside each other in one style."""
    line: list[Span] = []
    for text, style in spans:
        if line and line[-1][1] == style:
            line[-1] = (line[-1][0] + text, style)
        else:
            line.append((text, style))
    return tuple(line)


def spread(left: Line, right: Line, width: int) -> Line:
    """Put one line at the left edge and another at the right; the right one goes where both don't fit."""
    gap = width - line_width(left) - line_width(right)
    return (*left, (" " * gap, ""), *right) if gap >= 2 else left


def rule(title: Line, width: int, right: Line = ()) -> Line:
    """Draw a rule across the width, with a title in it and words at its right end."""
    fill = width - 4 - line_width(title) - (line_width(right) + 1 if right else 0)
    if fill < 1:
        return rule(title, width) if right else (("── ", "dim"), *title)
    end: Line = ((" ", ""), *right) if right else ()
    return (("── ", "dim"), *title, (" " + "─" * fill, "dim"), *end)
