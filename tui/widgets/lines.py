"""Draws lines of styled text, and again only those that changed: what every part of a screen is made of.

A line is a tuple of spans, a span is (text, style name). All text goes through the sanitizer here once more, so that no
control sequence reaches the terminal whatever a caller forgot.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from finetop.core.text import clean_line
from finetop.tui.app_interface import host_of
from finetop.tui.text import CURSOR, Line, cut_end
from finetop.tui.theme import Look, style, to_look


class Lines(Widget):
    """A block of rows, each a line of spans, drawn from the top; rows without a line are blank."""

    class Resized(Message):
        """It has another size than before: who fills it to the last row fills it again."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: tuple[Line, ...] = ()

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines in place of the ones before; only rows that differ are drawn again."""
        before, self.lines = self.lines, tuple(lines)
        for y in range(max(len(before), len(self.lines))):
            if before[y : y + 1] != self.lines[y : y + 1]:
                self.refresh(Region(0, y, max(1, self.size.width), 1))

    def on_resize(self) -> None:
        self.post_message(self.Resized())

    def render_line(self, y: int) -> Strip:
        line = self.lines[y] if y < len(self.lines) else ()
        return to_strip(line, self.size.width, host_of(self).look)


def set_height(widget: Widget, rows: int) -> None:
    """Make a widget so many rows high; one that is so already is not laid out again."""
    if widget.styles.height is None or widget.styles.height.value != rows:
        widget.styles.height = rows


def to_strip(line: Line, width: int, look: Look) -> Strip:
    """Lay a line out on one row of exactly `width` cells: cleaned, cut with …, filled up with blanks.

    A line that begins with the cursor is the row under it, and has its background.
    """
    segments: list[Segment] = []
    is_under_cursor = line[:1] == (CURSOR,)
    left = width
    for text, name in line:
        if not text.isprintable():
            text = clean_line(text)
        text = to_look(look, text)
        cells = cell_len(text)
        if cells > left:
            text = to_look(look, cut_end(text, left))
            text = set_cell_size(text, left)
            cells = left
        segments.append(Segment(text, style(look, name, is_under_cursor=is_under_cursor)))
        left -= cells
        if left <= 0:
            break
    if left > 0:
        segments.append(Segment(" " * left, style(look, "", is_under_cursor=is_under_cursor)))
    return Strip(segments, width)
