"""Draws lines of styled text, and redraws only those that changed: every part of a screen is made of it.

A line is a tuple of spans, a span is (text, style name). All text is sanitized here once more, so that no control
sequence reaches the terminal, whatever a caller forgot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from finetop.core.text import clean_line
from finetop.tui.app_interface import host_of
from finetop.tui.text import CURSOR, RULE, Line, cut_end, cut_line, line_width
from finetop.tui.theme import Look, style, to_look

# The top border, rows between, rows and the border below, all.
Box = Literal["", "top", "sides", "low", "whole"]
ROOMY: Final = Size(100, 34)  # the smallest terminal with boxes
_GAP = 3  # blanks in a title through which the border is drawn


class Lines(Widget):
    """A block of rows, each a line of spans, drawn from the top; rows without a line are blank."""

    class Resized(Message):
        """Its size has changed: whoever fills it to the last row must fill it again."""

    def __init__(self, *, id: str | None = None, classes: str | None = None, box: Box = "") -> None:
        super().__init__(id=id, classes=classes)
        self.lines: tuple[Line, ...] = ()
        self._box = box

    @property
    def box(self) -> Box:
        """Return its part of a box, if the terminal has room for boxes."""
        return box_in(self.app.size, self._box)

    @property
    def room(self) -> Size:
        """Return the cells within its box, with a title in the border; as wide as the terminal, even before layout."""
        width, height = self.app.size.width, self.size.height
        has_border = self.box in ("low", "whole")
        return Size(width - 2, max(0, height - has_border)) if self.box else Size(width, height)

    def show(self, lines: Sequence[Line]) -> None:
        """Replace the lines; only rows that differ are redrawn."""
        before, self.lines = self.lines, tuple(lines)
        for y in range(max(len(before), len(self.lines))):
            if before[y : y + 1] != self.lines[y : y + 1]:
                self.refresh(Region(0, y, max(1, self.size.width), 1))

    def on_resize(self) -> None:
        self.post_message(self.Resized())

    def render_line(self, y: int) -> Strip:
        line = self.lines[y] if y < len(self.lines) else ()
        return boxed(line, y, self.size, self.box, host_of(self).look)


def set_height(widget: Widget, rows: int) -> None:
    """Set a widget's height; without a change it is not laid out again."""
    if widget.styles.height is None or widget.styles.height.value != rows:
        widget.styles.height = rows


def box_in(terminal: Size, box: Box) -> Box:
    """Return a part of a box, if the terminal has rows and columns to spare for boxes."""
    is_roomy = terminal.width >= ROOMY.width and terminal.height >= ROOMY.height
    return box if is_roomy else ""


def boxed(line: Line, y: int, size: Size, box: Box, look: Look) -> Strip:
    """Draw a row of a widget with its part of a box around it: a title in the border, sides, or the border below."""
    width = size.width
    if not box:
        return to_strip(line, width, look)
    if box in ("low", "whole") and y == size.height - 1:
        return to_strip(((f"╰{'─' * (width - 2)}╯", "faint"),), width, look)
    left, right = "│", "│"
    if box in ("top", "whole") and y == 0:
        left, right, line = "╭", "╮", _in_border(line, width - 2)
    elif line[:1] == (RULE,):
        left, right, line = "├", "┤", _in_border(line, width - 2)
    edge = style(look, "faint")
    within = to_strip(line, width - 2, look)
    return Strip([Segment(to_look(look, left), edge), *within, Segment(to_look(look, right), edge)], width)


def _in_border(line: Line, width: int) -> Line:
    """Draw a title into a border, which continues where the title has blanks to spare."""
    spans: Line = ()
    for text, name in cut_line(line, width):
        is_gap = len(text) > _GAP and not text.strip()
        spans = (*spans, (f" {'─' * (len(text) - 2)} ", "faint") if is_gap else (text, name))
    left = width - line_width(spans)
    return (*spans, (f" {'─' * (left - 1)}" if left > 1 else "─" * left, "faint"))


def to_strip(line: Line, width: int, look: Look) -> Strip:
    """Return a line as one row of exactly `width` cells: cleaned, cut with …, padded with blanks.

    From the cursor to the next divider it has the background of the row under the cursor.
    """
    segments: list[Segment] = []
    is_under_cursor = False
    left = width
    for text, name in line:
        is_under_cursor = (is_under_cursor or (text, name) == CURSOR) and text != "│"
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
