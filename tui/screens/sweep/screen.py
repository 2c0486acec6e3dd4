"""The Sweep screen: what came of each setting of a sweep, as mean and spread over its seeds, and a picture of it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from finetop.core.client import compare_runs
from finetop.core.client.seed_groups import Setting
from finetop.core.protocol.messages.runs import Sweeps, SweepsAnswer
from finetop.tui.app_interface import host_of
from finetop.tui.keys import BACK, PAGES, Key, bindings
from finetop.tui.save import Sheet
from finetop.tui.screens.sweep.pane import empty_lines, next_words, pane_lines, title_line, words_lines
from finetop.tui.screens.sweep.picture import letters, picture_lines
from finetop.tui.screens.sweep.row import (
    Columns,
    CurveColumns,
    cell_line,
    columns_of,
    curve_columns_of,
    curve_head_line,
    head_line,
    setting_line,
)
from finetop.tui.screens.sweep.state import SweepData, best
from finetop.tui.text import Line
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.list_screen import ListScreen
from finetop.tui.widgets.table import Table

LOW = 22  # rows of the terminal: below there is no picture
BEST = Key(
    "b", "best", "best", "open the run with the best target that has not regressed", "finetop sweep NAME"
)
OPEN = Key("enter", "open it", "open", "open the selected run", "finetop show RUN")
SETTING = Key("j,down", "setting", "move(1)", "next setting", sign="↑↓")
RUN = Key("right", "seed", "choose(1)", "next run of the setting (another seed)", sign="←→")
RUN_BEFORE = Key("left,h", "", "choose(-1)", "previous run")
PART = Key("tab", "findings", "part", "the runs of the setting, or the findings of the curve")
COMPARE = Key("c", "compare", "compare", "compare the runs of this setting", "finetop compare RUN RUN")
SORT = Key("o", "sort", "sort", "best target first, or in queue order")
SWEEP = Key(
    "right_square_bracket",
    "other",
    "sweep(1)",
    "next sweep, newest first",
    "finetop sweep",
    sign="[ ]",
)
SWEEP_BEFORE = Key("left_square_bracket", "", "sweep(-1)", "previous sweep")
MOVES = (
    Key("k,up", "", "move(-1)", "previous setting"),
    *PAGES,
    Key("g,home", "", "move(-1000000)", "first setting"),
    Key("G,end", "", "move(1000000)", "last setting"),
)
KEYS = (OPEN, BEST, SETTING, RUN, RUN_BEFORE, PART, COMPARE, SORT, SWEEP, SWEEP_BEFORE, BACK, *MOVES)


class SweepScreen(ListScreen, inherit_bindings=False):
    """One sweep; without a name the newest. Nothing moves while runs go on; `o` sorts."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    BINDINGS: ClassVar = bindings(KEYS)
    TITLE = "Sweep"

    def __init__(self, sweep: str = "") -> None:
        super().__init__()
        self.held = SweepData(sweep)
        self.has_words = False  # what follows from a curve stands in place of the picture
        self._columns = Columns((), False, False)
        self._curve_columns = CurveColumns(0, False, False)  # in their place, for rows that were selected
        self._letters: list[str] = []
        self._was_answered = False

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="title")
        yield Lines(id="head")
        yield Table(self.draw_row, id="settings")
        yield Lines(id="picture")
        yield Lines(id="pane")
        yield Bottom()

    async def to_save(self) -> Sheet:
        """Return the table, for a file."""
        from finetop.tui.save import tables

        return tables.sweep(self.held.name, self.held.keys, self.held.settings)

    def to_copy(self) -> str:
        return "" if self.at is None else self.held.run_of(self.at).name

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def at(self) -> Setting | None:
        """The setting under the cursor."""
        cursor = self.query_one(Table).cursor
        return self.held.settings[cursor] if cursor < len(self.held.settings) else None

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        letter = self._letters[index] if index < len(self._letters) else ""
        setting, now = self.held.settings[index], host_of(self).now()
        cell = self.held.cell_of(setting)
        if cell is not None:
            columns = self._curve_columns
            return cell_line(cell, setting.runs, columns, letter, has_cursor=has_cursor, now=now)
        return setting_line(setting, self._columns, letter, has_cursor=has_cursor, width=width, now=now)

    def redraw(self) -> None:
        held, width = self.held, self.size.width
        title, head = self.query_one("#title", Lines), self.query_one("#head", Lines)
        self.set_class(not held.settings, "-empty")
        if not held.settings:
            title.show(((((" Sweep", "bold"),)),))
            words = self._trouble or ("" if self._was_answered else "loading …")
            self.query_one("#pane", Lines).show(empty_lines(words))
            self.bottom.offer((), footer_keys(held, None))
            return
        if held.curves is None:
            self._columns = columns_of(width, held.keys, held.settings)
            head.show((head_line(self._columns, held.keys),))
        else:
            self._curve_columns = curve_columns_of(width, held.curves)
            head.show((curve_head_line(self._curve_columns),))
        self._letters = letters(held)
        title.show((title_line(held, width),))
        self.query_one(Table).show(len(held.settings))
        self.show_pane()

    def show_pane(self) -> None:
        """Write what follows the cursor: the picture, the runs of the setting, the next step."""
        held, width, setting = self.held, self.size.width, self.at
        picture, pane = self.query_one("#picture", Lines), self.query_one("#pane", Lines)
        self.set_class(self.has_words and held.curves is not None, "-words")
        picture.show(picture_lines(held, setting, width=width, height=picture.size.height))
        if self.has_words and held.curves is not None:
            pane.show(words_lines(held.curves, width, pane.size.height))
        elif setting is not None:
            now = host_of(self).now()
            pane.show(pane_lines(held, setting, width=width, height=pane.size.height, now=now))
        self.bottom.offer((next_words(held, setting),), footer_keys(held, setting))

    @property
    def has_shown(self) -> bool:
        return bool(self.held.settings)

    # --- what happens ---------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.set_class(self.size.height < LOW, "-low")

    async def _load_list(self, run: str) -> bool:
        held, host = self.held, host_of(self)
        if not held.name:
            every: SweepsAnswer = await host.ask(Sweeps())
            self._was_answered = True
            if not every.sweeps:
                return True
            held.name = every.sweeps[0].name
        answer: SweepsAnswer = await host.ask(Sweeps(held.name))
        if held is not self.held:
            return False
        held.take(answer)
        return True

    # --- keys -----------------------------------------------------------------------------------------

    def action_choose(self, by: int) -> None:
        if self.at is not None:
            self.held.choose(self.at, by)
            self.show_pane()

    def action_part(self) -> None:
        """Show what follows from a curve, or the picture and the runs again."""
        if self.held.curves is None:
            host_of(self).say("tab is for selection curves: finetop select RECIPE --curve.")
            return
        self.has_words = not self.has_words
        self.show_pane()

    def action_open(self) -> None:
        if self.at is not None:
            host_of(self).open_run(self.held.run_of(self.at).name)

    def action_best(self) -> None:
        leader = best(self.held)
        if leader is None:
            host_of(self).say("no best yet: it needs two settings with a target, one of them not regressed.")
        else:
            host_of(self).open_run(self.held.run_of(leader).name)

    def action_compare(self) -> None:
        """Compare the runs of the setting under the cursor, or, where each has one, the first of each setting."""
        if self.at is None:
            return
        names = [run.name for run in self.at.runs]
        if len(names) < 2:
            names = [self.held.run_of(setting).name for setting in self.held.settings]
        if len(names) < 2:
            host_of(self).say("a comparison needs at least two runs.")
            return
        host_of(self).open_compare(names)
        if len(names) > compare_runs.MOST:
            host_of(self).say(f"comparing the first {compare_runs.MOST} of {len(names)}.")

    def action_sort(self) -> None:
        setting = self.at
        self.held.sort()
        if setting is not None:
            values = [other.values for other in self.held.settings]
            self.query_one(Table).show(len(values), values.index(setting.values))
        self.redraw()

    def action_sweep(self, by: int) -> None:
        """Show the next of the sweeps."""
        answer = self.held.answer
        if answer is None:
            return  # it is not known yet whether there are others
        if len(answer.sweeps) < 2:
            host_of(self).say("no other sweep.")
            return
        names = [sweep.name for sweep in answer.sweeps]
        at = names.index(self.held.name) if self.held.name in names else -1
        self.held = SweepData(names[(at + by) % len(names)])
        self.query_one(Table).show(0, 0)
        self.load_anew()


def footer_keys(held: SweepData, setting: Setting | None) -> tuple[Key, ...]:
    """Offer what there is something to do with."""
    settings, is_curve = len(held.settings), held.curves is not None
    runs = 0 if setting is None else len(setting.runs)
    keys = (
        (OPEN, runs > 0),
        (BEST, settings > 1 and not is_curve),
        (SETTING, settings > 1),
        (PART, is_curve),
        (RUN, runs > 1),
        (COMPARE, runs > 1),
        (SORT, settings > 1),
        (SWEEP, held.answer is not None and len(held.answer.sweeps) > 1),
        (BACK, True),
    )
    return tuple(key for key, is_of_use in keys if is_of_use)
