"""The Live screen: all that runs now, a tile a run, on one machine or on several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult

from finetop.core.protocol.messages.runs import Runs, RunsAnswer
from finetop.core.protocol.runs import RunRow
from finetop.core.text import count
from finetop.tui.app_interface import host_of
from finetop.tui.keys import BACK, PAGES, Key, bindings, rows_of
from finetop.tui.screens.live.tile import BETWEEN, ROWS, SPARK, across, laid_out, tile_lines
from finetop.tui.screens.shared.sparklines import Sparklines
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.loaded_screen import LoadedScreen

OPEN = Key("enter", "open", "open", "open the run under the cursor", "finetop open RUN")
MOVES = (
    Key("left,h", "other run", "move(-1)", "the run before", sign="←→↑↓"),
    Key("right,l", "", "move(1)", "the next run"),
    Key("k,up", "", "row(-1)", "a row up"),
    Key("j,down", "", "row(1)", "a row down"),
    *PAGES,
    Key("g,home", "", "ends(-1)", "the first run"),
    Key("G,end", "", "ends(1)", "the last run"),
)
MOST = 48  # runs


class LiveScreen(LoadedScreen, inherit_bindings=False):
    """Asks for what runs whenever the store has changed, and for the curves of the tiles in view."""

    DEFAULT_CSS = "LiveScreen { overflow: hidden; #state { height: 2; } #tiles { height: 1fr; } }"
    KEYS = (OPEN, *MOVES, BACK)
    BINDINGS: ClassVar = bindings(KEYS)
    TITLE = "Live"

    def __init__(self) -> None:
        super().__init__()
        self.rows: Sequence[RunRow] = ()
        self.at = 0
        self._sparklines = Sparklines(SPARK)
        self._was_answered = False

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="state")
        yield Lines(id="tiles")
        yield Bottom()

    @property
    def has_shown(self) -> bool:
        return bool(self.rows)

    @property
    def row(self) -> RunRow | None:
        """The run under the cursor."""
        return self.rows[self.at] if self.at < len(self.rows) else None

    def to_copy(self) -> str:
        return "" if self.row is None else self.row.name

    async def _load(self) -> None:
        host, name = host_of(self), self.to_copy()
        answer: RunsAnswer = await host.ask(Runs("state:running", "newest", 0, MOST))
        self.rows, self._was_answered = answer.rows, True
        names = [row.name for row in self.rows]
        self.at = names.index(name) if name in names else min(self.at, max(0, len(names) - 1))
        self.redraw()
        is_far = any(home.link is not None for home in host.homes)
        for row in self.rows:
            if await self._sparklines.load(host.ask, row, host.now(), is_far=is_far):
                self.redraw()

    def redraw(self) -> None:
        state, tiles, bottom = (
            self.query_one("#state", Lines),
            self.query_one("#tiles", Lines),
            self.query_one(Bottom),
        )
        if not self.rows:
            words = "Nothing runs now." if self._was_answered else self._trouble or "asking the supervisor …"
            state.show((((f" {words}", "bold"),),))
            tiles.show(())
            bottom.offer((next_line("esc", "back to the runs"),), (BACK,))
            return
        now, (width, height) = host_of(self).now(), tiles.size
        columns = across(width)
        cells = (width + BETWEEN) // columns - BETWEEN
        drawn = [
            tile_lines(
                row, self._sparklines.drawn.get(row.id, ""), width=cells, now=now, has_cursor=at == self.at
            )
            for at, row in enumerate(self.rows)
        ]
        fit = max(1, height // ROWS)  # rows of tiles
        first = max(0, self.at // columns - fit + 1)
        tiles.show(laid_out(drawn[first * columns : (first + fit) * columns], cells, columns))
        hidden = len(self.rows) - min(len(self.rows) - first * columns, fit * columns)
        more = f"   {self.at + 1} of {len(self.rows)}" if hidden else ""
        state.show((((f" {count(len(self.rows))} running", "bold"), (more, "dim")),))
        bottom.offer((next_line("enter", f"watch {self.to_copy()}"),), self.KEYS)

    def action_move(self, by: int) -> None:
        self.at = min(max(0, self.at + by), max(0, len(self.rows) - 1))
        self.redraw()

    def action_row(self, by: int) -> None:
        self.action_move(by * across(self.query_one("#tiles").size.width))

    def action_page(self, pages: float) -> None:
        tiles = self.query_one("#tiles").size
        self.action_move(rows_of(pages, tiles.height // ROWS + 2) * across(tiles.width))

    def action_ends(self, direction: int) -> None:
        self.action_move(direction * len(self.rows))

    def action_open(self) -> None:
        if self.row is not None:
            host_of(self).open_run(self.row.name)

    def action_back(self) -> None:
        self.dismiss()
