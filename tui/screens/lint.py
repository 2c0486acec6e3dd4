"""What lint found in the data of a recipe, whole: a page that is scrolled."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.screen import Screen

from finetop.core.preflight.lint.report_text import report_lines
from finetop.tui.app_interface import host_of
from finetop.tui.keys import Key, bindings
from finetop.tui.line import Line
from finetop.tui.screens.help import BACK, MOVES
from finetop.tui.text import cut_end
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.table import Table

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from finetop.core.preflight.lint.report import Report
    from finetop.tui.theme import StyleName

NEXT = Key("n,N", "n", "next finding", "next", "the next finding")
STYLES: dict[str, StyleName] = {"✗": "red", "!": "amber mark", "·": "", "✓": "green"}


class LintScreen(Screen[None], inherit_bindings=False):
    """The report of `finetop lint`, with n from one finding to the next."""

    CSS = "LintScreen { overflow: hidden; #about { height: 2; } #list { height: 1fr; } }"
    BINDINGS: ClassVar = bindings((BACK, NEXT, *MOVES))
    TITLE = "Data"

    def __init__(self, name: str, report: Report) -> None:
        super().__init__()
        self._of = name
        self._report = report
        self._lines: list[str] = []

    def compose(self) -> ComposeResult:
        yield Top()
        yield Lines(id="about")
        yield Table(self._draw, id="list")
        yield Bottom()

    def on_mount(self) -> None:
        command = "finetop lint looks at all rows, --fix writes a mended file"
        self.query_one("#about", Lines).show((((f" Data of {self._of}", "bold"), (f"   {command}", "dim")),))
        self.query_one(Bottom).offer([], (NEXT, BACK))

    def on_resize(self) -> None:
        self._lines = list(report_lines(self._report, max(40, self.size.width - 3), is_page=True))
        self.query_one(Table).show(len(self._lines))

    def keys(self) -> tuple[Key, ...]:
        """All keys of this screen, for the help."""
        return (NEXT, BACK, *MOVES)

    def to_copy(self) -> str:
        return "\n".join(self._lines)

    def _draw(self, index: int, has_cursor: bool, width: int) -> Line:
        text = self._lines[index]
        style = STYLES.get(text[:1], "")
        cursor: Line = (("▸", "reverse"),) if has_cursor else ((" ", ""),)
        mark: Line = ((text[:1], style), (cut_end(text[1:], width - 2), "bold")) if style else ((text, ""),)
        return (*cursor, *mark)

    def action_next(self) -> None:
        """Go to the next finding, or the first behind the last."""
        table = self.query_one(Table)
        heads = [number for number, text in enumerate(self._lines) if text[:1] in STYLES]
        later = [number for number in heads if number > table.cursor]
        if heads:
            table.move((later or heads)[0] - table.cursor)
        else:
            host_of(self).say("nothing was found.")

    def action_back(self) -> None:
        self.dismiss()

    def action_move(self, rows: int) -> None:
        self.query_one(Table).move(rows)

    def action_page(self, direction: int) -> None:
        self.query_one(Table).page(direction)
