"""All messages of this session, newest first: a slow link may have hidden one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.screen import Screen

from finetop.core.text import counted
from finetop.core.wording.durations import clock
from finetop.tui.app_interface import host_of
from finetop.tui.keys import bindings
from finetop.tui.line import Line
from finetop.tui.screens.help import BACK, MOVES
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.table import Table

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from finetop.tui.keys import Key


class SaidScreen(Screen[None], inherit_bindings=False):
    """What was said above the footer, with the time."""

    CSS = "SaidScreen { overflow: hidden; #about { height: 2; } #list { height: 1fr; } }"
    BINDINGS: ClassVar = bindings((BACK, *MOVES))
    TITLE = "Messages"

    def compose(self) -> ComposeResult:
        yield Top()
        yield Lines(id="about")
        yield Table(self._draw, id="list")
        yield Bottom()

    def on_mount(self) -> None:
        messages = host_of(self).messages
        words = counted(len(messages), "message") if messages else "No messages so far."
        self.query_one("#about", Lines).show((((f" {words}", "bold"),),))
        self.query_one(Table).show(len(messages))
        self.query_one(Bottom).offer([], (BACK,))

    def keys(self) -> tuple[Key, ...]:
        """All keys of this screen, for the help."""
        return (BACK, *MOVES)

    def _draw(self, index: int, has_cursor: bool, width: int) -> Line:
        said = host_of(self).messages[-1 - index]
        cursor: Line = (("▸", "reverse"),) if has_cursor else ((" ", ""),)
        return (*cursor, (f" {clock(said.at)}  ", "dim"), (said.text, said.style))

    def action_back(self) -> None:
        self.dismiss()

    def action_move(self, rows: int) -> None:
        self.query_one(Table).move(rows)

    def action_page(self, direction: int) -> None:
        self.query_one(Table).page(direction)
