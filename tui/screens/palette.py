"""Every command by name: type a part of it, enter does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.screen import Screen

from finetop.tui.keys import Key, bindings
from finetop.tui.line import Line
from finetop.tui.screens.help import MOVES
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult


class PaletteScreen(Screen["Key | None"], inherit_bindings=False):
    """A list of keys, filtered by what is typed; gives back the chosen one."""

    CSS = "PaletteScreen { overflow: hidden; #about { height: 2; } #list { height: 1fr; } }"
    BINDINGS: ClassVar = bindings(MOVES)
    TITLE = "Commands"

    def __init__(self, keys: Sequence[Key]) -> None:
        super().__init__()
        self._all = tuple(key for key in keys if not key.action.startswith(("move", "page")))
        self._found = self._all

    def compose(self) -> ComposeResult:
        yield Top()
        yield Lines(id="about")
        yield Table(self._draw, id="list")
        yield Bottom()

    def on_mount(self) -> None:
        self.query_one("#about", Lines).show(
            (((" Commands", "bold"), ("   type a part of the name", "dim")),)
        )
        self.query_one(Table).show(len(self._found))
        self.query_one(Bottom).ask_text(
            ":", "", changed=self._filter, done=self._done, keep="do it", leave="back"
        )

    def _draw(self, index: int, has_cursor: bool, width: int) -> Line:
        key = self._found[index]
        name = key.action.partition("(")[0].replace("_", " ")
        return (
            ("▸", "reverse") if has_cursor else (" ", ""),
            (f"  {name:<12}", "bold"),
            (f"{key.shown:<9}", "dim"),
            (key.about, "bold" if has_cursor else ""),
        )

    def _filter(self, text: str) -> None:
        words = text.lower().split()
        self._found = tuple(
            key for key in self._all if all(word in f"{key.action} {key.about}".lower() for word in words)
        )
        self.query_one(Table).show(len(self._found), 0)

    def _done(self, text: str, is_chosen: bool) -> None:
        cursor = self.query_one(Table).cursor
        self.dismiss(self._found[cursor] if is_chosen and cursor < len(self._found) else None)

    def action_move(self, rows: int) -> None:
        self.query_one(Table).move(rows)

    def action_page(self, direction: int) -> None:
        self.query_one(Table).page(direction)
