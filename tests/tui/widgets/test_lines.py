"""Boxes around parts of a screen, and the row under the cursor."""

from __future__ import annotations

import pytest
from textual.geometry import Size

from finetop.tui.text import CURSOR, Line, rule, spread
from finetop.tui.theme import Look
from finetop.tui.widgets.lines import Box, boxed, to_strip

SIZE = Size(24, 3)


def drawn(line: Line, y: int, box: Box, look: Look | None = None) -> str:
    strip = boxed(line, y, SIZE, box, Look() if look is None else look)
    assert strip.cell_length == sum(segment.cell_length for segment in strip) == SIZE.width
    return strip.text


@pytest.mark.parametrize(
    ("line", "y", "box", "text"),
    [
        (spread(((" 3 run", ""),), (("sort ", ""),), 22), 0, "top", "╭ 3 run ───────── sort ╮"),
        (((" 3 run", ""),), 0, "top", "╭ 3 run ───────────────╮"),
        (rule((("a", "bold"),), 22, (("b", ""), (" ", ""))), 0, "whole", "╭── a ────────────── b ╮"),
        (rule((("a", "bold"),), 22), 1, "whole", "├── a ─────────────────┤"),
        (((" row", ""),), 1, "sides", "│ row                  │"),
        (((" much too long for a row", ""),), 1, "low", "│ much too long for a… │"),
        ((), 2, "low", "╰──────────────────────╯"),
        ((), 2, "sides", "│                      │"),
        (((" row", ""),), 0, "", " row                    "),
    ],
)
def test_a_box_has_titles_in_its_border(line: Line, y: int, box: Box, text: str) -> None:
    assert drawn(line, y, box) == text
    assert drawn(line, y, box, Look("none", ascii=True)).isascii()


def test_the_row_under_the_cursor_has_a_background_as_far_as_a_divider() -> None:
    line: Line = (("a", ""), CURSOR, ("name", "red"), ("  ", ""), ("│", "faint"), ("b", ""))
    strip = to_strip(line, 12, Look("dark"))
    styled = [(segment.text, segment.style) for segment in strip]
    under = [text for text, style in styled if style is not None and style.bgcolor is not None]
    assert under == ["▸", "name", "  "]
    styled = [(segment.text, segment.style) for segment in to_strip(line, 12, Look("16"))]
    assert all(style is None or style.bgcolor is None for _, style in styled)
    assert [text for text, style in styled if style is not None and style.reverse] == under
