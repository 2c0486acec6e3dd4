"""The Compare screen: several runs, their curves in shared charts, recipe differences, results, the scatter plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual import on
from textual.app import ComposeResult

from finetop.core.features.compare import compare_runs
from finetop.tui.app_interface import host_of
from finetop.tui.keys import BACK, NO_MORE, PAGES, Key, rows_of
from finetop.tui.save import Sheet
from finetop.tui.screens.compare.curves import axis_of_all, chart_lines, ends_of, pointed_at
from finetop.tui.screens.compare.draw import data_lines, head_lines, sample_lines, scatter_lines, table_lines
from finetop.tui.screens.compare.state import TABS, CompareState, Tab
from finetop.tui.screens.run import keys
from finetop.tui.screens.run.x_axis import next_x
from finetop.tui.screens.run.zoom import Shown, moved, x_range, zoomed
from finetop.tui.screens.shared.lettered import LETTERS
from finetop.tui.text import Line, in_view
from finetop.tui.widgets.chart import columns_of
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.loaded_screen import LoadedScreen
from finetop.tui.widgets.pointed_lines import PointedLines
from finetop.tui.widgets.series import Stretch

NEXT_TAB = Key("tab", "next tab", "tab(1)", "next tab: numbers, data, samples, scatter")
RUN = Key("j,down", "run", "choose(1)", "next run: its curve is bold, enter opens it", sign="↑↓")
RUN_BEFORE = Key("k,up", "", "choose(-1)", "previous run")
OPEN = Key("enter", "open it", "open", "open the selected run", "finetop show RUN")
CURSOR = Key("left,h", "cursor", "cursor(-1)", "chart cursor left", sign="←→")
FAR_LEFT = Key("shift+left", "", "cursor(-10)", "ten columns left")
ALL = Key("0", "", "all", "show all steps, clear the cursor")
METRIC = Key("v", "metric", "metric(1)", "next metric")
METRIC_BEFORE = Key("V", "", "metric(-1)", "previous metric")
HIDE = Key("space", "hide", "hide", "hide or show the selected run's curve")
DROP = Key("X", "", "drop", "leave the selected run out of this view; nothing is deleted")
MOVES = (*PAGES, Key("g,home", "", "ends(-1)", "first row"), Key("G,end", "", "ends(1)", "last row"))
KEYS = (
    *(NEXT_TAB, keys.TAB_BEFORE, RUN, RUN_BEFORE, OPEN, METRIC, METRIC_BEFORE, CURSOR, keys.RIGHT, FAR_LEFT),
    *(keys.FAR_RIGHT, keys.ZOOM, keys.ZOOM_OUT, ALL, keys.AXIS, keys.FIT, keys.FULL, keys.LOG_SCALE),
    *(keys.SMOOTH, HIDE, DROP, BACK, *MOVES),
)
_SCROLL = Key("", "scroll", sign="pgdn")


class CompareScreen(LoadedScreen, inherit_bindings=False):
    """Two to nine runs side by side, drawn from the data held here."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    TITLE = "Compare"

    def __init__(self, runs: Sequence[str]) -> None:
        super().__init__()
        self.state = CompareState(list(runs)[: compare_runs.MOST_RUNS])

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="head")
        yield PointedLines(id="body")
        yield Bottom()

    async def to_save(self) -> Sheet:
        from finetop.tui.save import tables

        return tables.compare(self.state.runs, self.state.curves, self.state.stretch)

    def to_copy(self) -> str:
        return self.state.names[self.state.chosen]

    # --- what is seen ---------------------------------------------------------------------------------

    def _measure(self) -> None:
        state, size = self.state, self.query_one("#body").size
        state.size = (size.width, size.height)
        state.below = len(table_lines(state, host_of(self).now()))

    def redraw(self) -> None:
        head, body = self.query_one("#head", Lines), self.query_one("#body", Lines)
        state = self.state
        if not state.runs:
            text = self._trouble or "loading …"
            head.show((((f" Compare {len(state.names)} runs", "bold"),), ((f"   {text}", "dim"),)))
            body.show(())
            self.bottom.offer((), footer_keys(state.tab)[-1:])
            return
        self._measure()
        lines, where = self._body_lines()
        head.show(head_lines(state, self.size.width, where))
        body.show(lines)
        text = f"open {LETTERS[state.chosen]}. {compare_runs.front_sentence(state.runs, LETTERS)}"
        self.bottom.offer((next_line("enter", text),), footer_keys(state.tab))

    def _body_lines(self) -> tuple[list[Line], str]:
        state, host = self.state, host_of(self)
        match state.tab:
            case "numbers":
                return self._below(chart_lines(state, host.look), table_lines(state, host.now()))
            case "data":
                return self._part(data_lines(state))
            case "samples":
                return self._part(sample_lines(state))
            case "scatter":
                return self._part(scatter_lines(state))

    def _below(self, charts: list[Line], table: list[Line]) -> tuple[list[Line], str]:
        state = self.state
        lines, where = self._part(table, len(charts))
        metrics = state.grid.where(state.metric_keys, state.layout.charts) if state.metric_keys else ""
        return [*charts, *lines], "   ".join(filter(None, (f"metric {metrics}" if metrics else "", where)))

    def _part(self, lines: list[Line], above: int = 0) -> tuple[list[Line], str]:
        state = self.state
        top, height = state.tops.get(state.tab, 0), state.size[1] - above
        state.tops[state.tab], shown, where = in_view(lines, top, height)
        return shown, where

    @property
    def has_shown(self) -> bool:
        return bool(self.state.runs)

    # --- what happens ---------------------------------------------------------------------------------

    async def _load(self) -> None:
        host, state = host_of(self), self.state
        await state.load_runs(host)
        self._measure()
        if state.tab == "numbers":
            width = state.layout.chart_width
            columns = columns_of(width - ends_of(width))
            for _ in range(2):  # the axis' end may be known only once its curves have arrived
                x, in_view = state.shown.x, x_range(state.shown, axis_of_all(state))
                await state.load_curves(host, Stretch(x, *in_view, columns))
                if x == "step" or in_view == x_range(state.shown, axis_of_all(state)):
                    break
        if state.tab == "data":
            await state.load_data(host)
        self.redraw()

    # --- keys -----------------------------------------------------------------------------------------

    def action_tab(self, by: int) -> None:
        self.state.tab = TABS[(TABS.index(self.state.tab) + by) % len(TABS)]
        self.look_anew()

    def action_choose(self, by: int) -> None:
        self.state.chosen = (self.state.chosen + by) % max(1, len(self.state.names))
        self.redraw()
        if self.state.tab == "data":
            self._wake.set()

    def action_open(self) -> None:
        if self.state.runs:
            host_of(self).open_run(self.state.runs[self.state.chosen].row.name)

    def action_drop(self) -> None:
        """Leave the selected run out of the view; at least two stay."""
        if not self.state.runs:
            return  # not loaded yet
        if len(self.state.names) <= 2:
            host_of(self).say("a comparison needs at least two runs.")
            return
        self.state.names.pop(self.state.chosen)
        self.state.runs.pop(self.state.chosen)
        for curves in self.state.curves.values():
            curves.pop(self.state.chosen)
        self.state.chosen = min(self.state.chosen, len(self.state.names) - 1)
        self.look_anew()

    def action_metric(self, by: int) -> None:
        if self.state.tab == "scatter":
            self.state.target += by
            self.redraw()
            return
        self.state.grid.move(self.state.metric_keys, self.state.room, by)
        self.redraw()
        self._wake.set()

    def action_cursor(self, cells: int) -> None:
        self._show(moved(self.state.shown, axis_of_all(self.state), cells))

    def action_zoom(self, direction: int) -> None:
        self._show(zoomed(self.state.shown, axis_of_all(self.state), direction))

    def action_all(self) -> None:
        self._show(replace(self.state.shown, cursor=None, zoom=None))

    def action_axis(self) -> None:
        shown = self.state.shown
        self._show(replace(shown, x=next_x(shown.x, self.state.runs), cursor=None, zoom=None))

    def action_fit(self) -> None:
        """Fit the axes to the runs' progress, or show all of both."""
        self._show(replace(self.state.shown, is_fit=self.state.shown.is_fit is False, cursor=None, zoom=None))

    def action_full(self) -> None:
        if self.state.tab == "numbers" and self.state.runs:
            if self.state.grid.at is None:
                self.state.grid.move(self.state.metric_keys, self.state.room, 1)
            self.state.grid.is_full = not self.state.grid.is_full
            self._show(replace(self.state.shown, cursor=None))
            self._wake.set()

    def action_hide(self) -> None:
        if self.state.tab == "numbers" and self.state.runs:
            self.state.hidden ^= {self.state.runs[self.state.chosen].row.name}
            self.redraw()

    @on(PointedLines.Pointed)
    @on(PointedLines.Dragged)
    @on(PointedLines.Wheel)
    def _use_mouse(self, event: PointedLines.Used) -> None:
        shown = pointed_at(self.state, event)
        if shown is not None:
            self._show(shown)
        elif isinstance(event, PointedLines.Wheel):
            tab, tops = self.state.tab, self.state.tops
            tops[tab] = max(0, tops.get(tab, 0) - 3 * event.direction)
            self.redraw()

    def action_log_scale(self) -> None:
        self._show(self.state.grid.turn_scale(self.state.metric_keys, self.state.shown))

    def action_smooth(self) -> None:
        self._show(self.state.grid.smooth(self.state.metric_keys, self.state.shown))

    def _show(self, shown: Shown) -> None:
        if self.state.tab != "numbers" or not self.state.runs:
            return
        before = self.state.shown
        is_other_stretch = (shown.zoom, shown.x, shown.is_fit) != (before.zoom, before.x, before.is_fit)
        self.state.shown = shown
        self.redraw()
        if is_other_stretch:
            self._wake.set()

    def action_page(self, pages: float) -> None:
        self._scroll(self.state.tops.get(self.state.tab, 0) + rows_of(pages, self.state.size[1]))

    def action_ends(self, direction: int) -> None:
        self._scroll(0 if direction < 0 else 1_000_000)

    def _scroll(self, to: int) -> None:
        before = self.state.tops.get(self.state.tab, 0)
        self.state.tops[self.state.tab] = max(0, to)
        self.redraw()
        if self.state.tops[self.state.tab] == before:
            host_of(self).say(NO_MORE)

    def action_back(self) -> None:
        if self.state.grid.is_full:
            self.action_full()
        else:
            self.dismiss()


def footer_keys(tab: Tab) -> tuple[Key, ...]:
    """Return the footer keys of a tab."""
    match tab:
        case "numbers":
            first = (RUN, OPEN, METRIC, keys.FULL, HIDE, CURSOR, keys.ZOOM, keys.AXIS, NEXT_TAB, BACK)
            return (*first, keys.FIT, keys.SMOOTH, keys.LOG_SCALE)
        case "data" | "samples":
            return (RUN, OPEN, _SCROLL, NEXT_TAB, BACK)
        case "scatter":
            return (RUN, OPEN, METRIC, NEXT_TAB, BACK)
