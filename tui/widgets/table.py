"""A list of any length: it knows a count and a cursor, and draws only the rows in view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from finetop.tui.app_interface import host_of
from finetop.tui.keys import rows_of
from finetop.tui.text import Line, cursor_mark
from finetop.tui.widgets.lines import Box, box_in, boxed

DrawRow = Callable[[int, bool, int], Line]  # index, whether the cursor is on it, width
HeadingOf = Callable[[int], str]  # the heading above a row; "" for none


def waiting_line(*, has_cursor: bool) -> Line:
    """Draw a row that was requested and has not arrived yet."""
    return (cursor_mark(has_cursor), ("   …", "dim"))


class Table(Widget):
    """Rows drawn by the screen, under headings: the first in view always has its own. Nothing moves without a key."""

    @dataclass
    class Moved(Message):
        """The cursor is on another row."""

        index: int

    class Scrolled(Message):
        """Other rows came into view."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Table.Scrolled)

    class Opened(Message):
        """The row under the cursor was clicked."""

    def __init__(
        self, draw: DrawRow, heading_of: HeadingOf | None = None, *, id: str | None = None, box: Box = ""
    ) -> None:
        super().__init__(id=id)
        self._box = box
        self._draw = draw
        self._heading_of = heading_of or (lambda index: "")
        self.count = 0
        self.cursor = 0
        self.first = 0
        self._laid_out: list[int | str] = []  # a row's index, or a heading

    @property
    def box(self) -> Box:
        """Return its part of a box, if the terminal has room for boxes."""
        return box_in(self.app.size, self._box)

    @property
    def rows(self) -> int:
        """Return how many rows it has, headings included."""
        return self.size.height - (self.box == "low")

    def show(self, count: int, cursor: int | None = None) -> None:
        """Redraw: there are `count` rows now, and the cursor is on row `cursor` (else where it was)."""
        self.count = count
        before = self.cursor
        self.cursor = min(max(0, self.cursor if cursor is None else cursor), max(0, count - 1))
        self.refresh_rows()
        if self.cursor != before:
            self.post_message(self.Moved(self.cursor))

    def refresh_rows(self) -> None:
        """Redraw the rows in view after their content has changed."""
        self._lay_out()
        self.refresh()

    def move(self, rows: int) -> None:
        """Move the cursor by `rows`, as far as there are any."""
        self.go(self.cursor + rows)

    def page(self, pages: float) -> None:
        self.move(rows_of(pages, self.rows))

    def ends(self, direction: int) -> None:
        self.go(0 if direction < 0 else self.count - 1)

    def go(self, index: int) -> None:
        index = min(max(0, index), max(0, self.count - 1))
        if index == self.cursor:
            return
        before, self.cursor = self.cursor, index
        was_laid_out = self._laid_out
        self._lay_out()
        if self._laid_out == was_laid_out:
            for row in {before, index}.intersection(self._laid_out):  # empty while it has no height
                self.refresh(Region(0, self._laid_out.index(row), self.size.width, 1))
        else:
            self.refresh()
        self.post_message(self.Moved(index))

    def rows_in_view(self) -> tuple[int, int]:
        """Return the first row in view and the one after the last."""
        rows = [entry for entry in self._laid_out if isinstance(entry, int)]
        return (rows[0], rows[-1] + 1) if rows else (self.first, self.first)

    def on_resize(self) -> None:
        self.refresh_rows()
        self.post_message(self.Scrolled())

    def on_click(self, event: events.Click) -> None:
        entry = self._laid_out[event.y] if event.y < len(self._laid_out) else ""
        if isinstance(entry, int):
            if entry == self.cursor:
                self.post_message(self.Opened())
            self.go(entry)

    def on_mouse_scroll_down(self) -> None:
        self.move(3)

    def on_mouse_scroll_up(self) -> None:
        self.move(-3)

    def _lay_out(self) -> None:
        first = self.first
        self.first = min(self.first, self.cursor)
        laid_out = self._entries()
        while self.cursor not in laid_out and self.first < self.cursor:
            self.first = max(self.first + 1, self.cursor - self.rows + 1)
            laid_out = self._entries()
        # removed rows leave no gap at the end while others are above
        while self.first > 0 and len(laid_out) < self.rows:
            self.first -= 1
            longer = self._entries()
            if self.cursor not in longer:
                self.first += 1
                break
            laid_out = longer
        self._laid_out = laid_out
        if first != self.first:
            self.post_message(self.Scrolled())

    def _entries(self) -> list[int | str]:
        entries: list[int | str] = []
        above = ""
        index = self.first
        while len(entries) < self.rows and index < self.count:
            heading = self._heading_of(index)
            if heading and heading != above:
                entries.append(heading)
                above = heading
                if len(entries) == self.rows:
                    break
            entries.append(index)
            index += 1
        return entries

    def render_line(self, y: int) -> Strip:
        entry = self._laid_out[y] if y < len(self._laid_out) else ""
        line: Line = ((f" {entry}", "heading"),) if isinstance(entry, str) else ()
        if isinstance(entry, int):
            line = self._draw(entry, entry == self.cursor, max(0, self.size.width - 2 * bool(self.box)))
        return boxed(line, y, self.size, self.box, host_of(self).look)
