"""All keys of a screen, each with what it does and the command that does the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.screen import Screen

from finetop.tui.app_interface import host_of
from finetop.tui.keys import Key, bindings, moves
from finetop.tui.line import Line
from finetop.tui.text import cut_end
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

BACK = Key("escape,question_mark", "esc", "back", "back", "back to the screen before")
MOVES = moves()[:4]  # letters may be typed beside them


class HelpScreen(Screen[None], inherit_bindings=False):
    """Keys of the screen before, then those that work everywhere."""

    CSS = "HelpScreen { overflow: hidden; #about { height: 2; } #list { height: 1fr; } }"
    BINDINGS: ClassVar = bindings((BACK, *MOVES))
    TITLE = "Keys"

    def __init__(self, title: str, keys: Sequence[Key]) -> None:
        super().__init__()
        self._of = title
        self._own = tuple(keys)
        self._all: tuple[Key, ...] = self._own

    def compose(self) -> ComposeResult:
        yield Top()
        yield Lines(id="about")
        yield Table(self._draw, self._heading, id="list")
        yield Bottom()

    def on_mount(self) -> None:
        self._all = (*self._own, *host_of(self).keys_everywhere())
        capitals = "small letters look, capitals act on a run"
        self.query_one("#about", Lines).show((((f" Keys of {self._of}", "bold"), (f"   {capitals}", "dim")),))
        self.query_one(Table).show(len(self._all))
        self.query_one(Bottom).offer([], (BACK,))

    def to_copy(self) -> str:
        return self._all[self.query_one(Table).cursor].command

    def _heading(self, index: int) -> str:
        return f"on {self._of}" if index < len(self._own) else "everywhere"

    def _draw(self, index: int, has_cursor: bool, width: int) -> Line:
        key = self._all[index]
        room = width - 13 - (len(key.command) + 3 if key.command and width >= 70 else 0)
        about = cut_end(key.about, room)
        line: Line = (
            ("▸", "reverse") if has_cursor else (" ", ""),
            (f"  {key.shown:<9}", "bold"),
            (about, "bold" if has_cursor else ""),
        )
        if key.command and width >= 70:
            blank = " " * max(2, width - 12 - len(about) - len(key.command) - 1)
            line = (*line, (blank, ""), (key.command, "dim"))
        return line

    def action_back(self) -> None:
        self.dismiss()

    def action_move(self, rows: int) -> None:
        self.query_one(Table).move(rows)

    def action_page(self, direction: int) -> None:
        self.query_one(Table).page(direction)
