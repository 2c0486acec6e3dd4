"""The Compare screen: several runs, their curves over each other, what differs, what came out, the trade-off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult

from finetop.core.client import compare_runs
from finetop.tui.app_interface import host_of
from finetop.tui.keys import BACK, NO_MORE, PAGES, Key, bindings, rows_of
from finetop.tui.save import Sheet
from finetop.tui.screens.compare.curves import (
    axis_of_all,
    chart_lines,
    ends_of,
    layout_of,
    metrics_of,
    next_x,
    pointed_at,
)
from finetop.tui.screens.compare.draw import (
    data_lines,
    head_lines,
    sample_lines,
    scatter_lines,
    table_lines,
    targets_of,
)
from finetop.tui.screens.compare.state import (
    TABS,
    ComparedRuns,
    Tab,
    load_curves,
    load_data,
    load_runs,
)
from finetop.tui.screens.run.grid import Grid
from finetop.tui.screens.run.keys import (
    AXIS,
    FAR_RIGHT,
    FIT,
    FULL,
    LOG_SCALE,
    RIGHT,
    SMOOTH,
    TAB_BEFORE,
    ZOOM,
    ZOOM_OUT,
)
from finetop.tui.screens.run.zoom import Axis, Shown, moved, stretch, zoomed
from finetop.tui.screens.shared.lettered import LETTERS
from finetop.tui.text import Line
from finetop.tui.widgets.chart import columns_of
from finetop.tui.widgets.chart_grid import Layout, rows_of_charts
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.loaded_screen import LoadedScreen
from finetop.tui.widgets.pointed_lines import PointedLines

SMOOTHING = 0.6  # until `m` changes it: noise would hide which is which
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
MOVES = (
    *PAGES,
    Key("g,home", "", "ends(-1)", "first row"),
    Key("G,end", "", "ends(1)", "last row"),
)
KEYS = (
    *(NEXT_TAB, TAB_BEFORE, RUN, RUN_BEFORE, OPEN, METRIC, METRIC_BEFORE, CURSOR, RIGHT, FAR_LEFT, FAR_RIGHT),
    *(ZOOM, ZOOM_OUT, ALL, AXIS, FIT, FULL, LOG_SCALE, SMOOTH, HIDE, DROP, BACK, *MOVES),
)
_SCROLL = Key("", "scroll", sign="pgdn")


class CompareScreen(LoadedScreen, inherit_bindings=False):
    """Two to nine runs side by side. Everything is drawn from what is held."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    BINDINGS: ClassVar = bindings(KEYS)
    TITLE = "Compare"

    def __init__(self, runs: Sequence[str]) -> None:
        super().__init__()
        self.names = list(runs)[: compare_runs.MOST]
        self.held = ComparedRuns()
        self.tab: Tab = "numbers"
        self.shown = Shown(smoothing=SMOOTHING)
        self.grid = Grid()  # of the metrics
        self.hidden: set[str] = set()  # runs whose curves are not drawn
        self.chosen = 0
        self.target = 0  # which of the targets' metrics the scatter shows
        self.tops: dict[Tab, int] = {}

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="head")
        yield PointedLines(id="body")
        yield Bottom()

    async def to_save(self) -> Sheet:
        """Return the curves and the tables, for a file."""
        from finetop.tui.save import tables

        held = self.held
        return tables.compare(held.runs, held.curves, (held.first, held.last, held.columns))

    def to_copy(self) -> str:
        return self.names[self.chosen]

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def body_size(self) -> tuple[int, int]:
        size = self.query_one("#body").size
        return size.width, size.height

    @property
    def _layout(self) -> Layout:
        width, height = self.body_size
        table = table_lines(self.held.runs, self.chosen, width, host_of(self).now())
        return layout_of(width, height, len(table), is_full=self.grid.is_full)

    @property
    def _axis(self) -> Axis:
        return axis_of_all(self.held, self.shown, self._layout.chart_width)

    @property
    def metrics(self) -> list[str]:
        """The metrics that are drawn."""
        return self.grid.charts(metrics_of(self.held.runs), self._layout.charts)

    def redraw(self) -> None:
        head, body = self.query_one("#head", Lines), self.query_one("#body", Lines)
        runs = self.held.runs
        if not runs:
            words = self._trouble or "loading …"
            head.show((((f" Compare {len(self.names)} runs", "bold"),), ((f"   {words}", "dim"),)))
            body.show(())
            self.query_one(Bottom).offer((), footer_keys(self.tab)[-1:])
            return
        lines, where = self._body_lines()
        head.show(head_lines(runs, self.chosen, self.hidden, self.tab, self.size.width, where))
        body.show(lines)
        words = f"open {LETTERS[self.chosen]}. {compare_runs.front_sentence(runs, LETTERS)}"
        self.query_one(Bottom).offer((next_line("enter", words),), footer_keys(self.tab))

    def _body_lines(self) -> tuple[list[Line], str]:
        width, height = self.body_size
        held, host = self.held, host_of(self)
        match self.tab:
            case "numbers":
                table = table_lines(held.runs, self.chosen, width, host.now())
                return self._below(self._chart_lines(width), table, height)
            case "data":
                return self._part(data_lines(held, self.chosen, width), height)
            case "samples":
                return self._part(sample_lines(held.runs, self.chosen, width), height)
            case "scatter":
                metrics = targets_of(held.runs)
                metric = metrics[self.target % len(metrics)] if metrics else ""
                return self._part(scatter_lines(held.runs, metric, self.chosen, width, height), height)

    def _chart_lines(self, width: int) -> list[Line]:
        """Draw the curves in a grid, in what the table leaves of the tab; one of them in all of it."""
        layout, look = self._layout, host_of(self).look
        drawn = chart_lines(
            self.held, self.grid, self.metrics, self.shown, self.chosen, self.hidden, layout, look
        )
        return rows_of_charts(drawn, layout.chart_columns, width)

    def _below(self, charts: list[Line], table: list[Line], height: int) -> tuple[list[Line], str]:
        lines, where = self._part(table, height - len(charts))
        keys = metrics_of(self.held.runs)
        metrics = self.grid.where(keys, self._layout.charts) if keys else ""
        return [*charts, *lines], "   ".join(filter(None, (f"metric {metrics}" if metrics else "", where)))

    def _part(self, lines: list[Line], height: int) -> tuple[list[Line], str]:
        """Cut a long tab to its room, from where it was scrolled to."""
        last = max(0, len(lines) - height)
        top = self.tops[self.tab] = min(self.tops.get(self.tab, 0), last)
        where = f"{top + 1}-{min(len(lines), top + height)} of {len(lines)}" if last else ""
        return lines[top : top + height], where

    @property
    def has_shown(self) -> bool:
        return bool(self.held.runs)

    # --- what happens ---------------------------------------------------------------------------------

    async def _load(self) -> None:
        host, held = host_of(self), self.held
        await load_runs(host, held, self.names)
        if self.tab == "numbers":
            width = self._layout.chart_width
            for _ in range(2):  # where an axis ends may be known only when its curves came
                x, (first, last) = self.shown.x, stretch(self.shown, self._axis)
                columns = columns_of(width - ends_of(width))
                await load_curves(host, held, self.metrics, x, first, last, columns)
                if x == "step" or (first, last) == stretch(self.shown, self._axis):
                    break
        if self.tab == "data":
            await load_data(host, held, self.chosen)
        self.redraw()

    # --- keys -----------------------------------------------------------------------------------------

    def action_tab(self, by: int) -> None:
        self.tab = TABS[(TABS.index(self.tab) + by) % len(TABS)]
        self.look_anew()

    def action_choose(self, by: int) -> None:
        self.chosen = (self.chosen + by) % max(1, len(self.names))
        self.redraw()
        if self.tab == "data":
            self._wake.set()

    def action_open(self) -> None:
        if self.held.runs:
            host_of(self).open_run(self.held.runs[self.chosen].row.name)

    def action_drop(self) -> None:
        """Leave the chosen run out; two stay at least."""
        if len(self.names) <= 2:
            host_of(self).say("a comparison needs at least two runs.")
            return
        self.names.pop(self.chosen)
        self.held.runs.pop(self.chosen)
        for curves in self.held.curves.values():
            curves.pop(self.chosen)
        self.chosen = min(self.chosen, len(self.names) - 1)
        self.look_anew()

    def action_metric(self, by: int) -> None:
        if self.tab == "scatter":
            self.target += by
            self.redraw()
            return
        self.grid.move(metrics_of(self.held.runs), self._room, by)
        self.redraw()
        self._wake.set()

    @property
    def _room(self) -> int:
        """How many charts a page of the grid has."""
        width, height = self.body_size
        return layout_of(width, height, height, is_full=False).charts

    def action_cursor(self, cells: int) -> None:
        self._show(moved(self.shown, self._axis, cells))

    def action_zoom(self, direction: int) -> None:
        self._show(zoomed(self.shown, self._axis, direction))

    def action_all(self) -> None:
        self._show(replace(self.shown, cursor=None, zoom=None))

    def action_axis(self) -> None:
        self._show(replace(self.shown, x=next_x(self.shown.x, self.held.runs), cursor=None, zoom=None))

    def action_fit(self) -> None:
        """Fit the axes to where the runs stand, or show all of both."""
        self._show(replace(self.shown, is_fit=self.shown.is_fit is False, cursor=None, zoom=None))

    def action_full(self) -> None:
        if self.tab == "numbers" and self.held.runs:
            if self.grid.at is None:
                self.grid.move(metrics_of(self.held.runs), self._room, 1)
            self.grid.is_full = not self.grid.is_full
            self._show(replace(self.shown, cursor=None))
            self._wake.set()

    def action_hide(self) -> None:
        """Hide the chosen run's curve, or show it again."""
        if self.tab == "numbers" and self.held.runs:
            self.hidden ^= {self.held.runs[self.chosen].row.name}
            self.redraw()

    @on(PointedLines.Pointed)
    @on(PointedLines.Dragged)
    @on(PointedLines.Wheel)
    def _use_mouse(self, event: PointedLines.Used) -> None:
        """Set the cursor, or zoom; below the curves the wheel scrolls."""
        charts = len(self.metrics) if self.tab == "numbers" else 0
        width = self.body_size[0]
        shown = pointed_at(self.shown, self._axis, self._layout, charts, width, event)
        if shown is not None:
            self._show(shown)
        elif isinstance(event, PointedLines.Wheel):
            self.tops[self.tab] = max(0, self.tops.get(self.tab, 0) - 3 * event.direction)
            self.redraw()

    def action_log_scale(self) -> None:
        self._show(self.grid.turn_scale(metrics_of(self.held.runs), self.shown))

    def action_smooth(self) -> None:
        self._show(self.grid.smooth(metrics_of(self.held.runs), self.shown))

    def _show(self, shown: Shown) -> None:
        if self.tab != "numbers" or not self.held.runs:
            return
        before = self.shown
        is_other_stretch = (shown.zoom, shown.x, shown.is_fit) != (before.zoom, before.x, before.is_fit)
        self.shown = shown
        self.redraw()
        if is_other_stretch:
            self._wake.set()

    def action_page(self, pages: float) -> None:
        self._scroll(self.tops.get(self.tab, 0) + rows_of(pages, self.body_size[1]))

    def action_ends(self, direction: int) -> None:
        self._scroll(0 if direction < 0 else 1_000_000)

    def _scroll(self, to: int) -> None:
        before = self.tops.get(self.tab, 0)
        self.tops[self.tab] = max(0, to)
        self.redraw()
        if self.tops[self.tab] == before:
            host_of(self).say(NO_MORE)

    def action_back(self) -> None:
        if self.grid.is_full:
            self.action_full()
        else:
            self.dismiss()


def footer_keys(tab: Tab) -> tuple[Key, ...]:
    """Choose the keys for the footer."""
    match tab:
        case "numbers":
            return (RUN, OPEN, METRIC, FULL, HIDE, CURSOR, ZOOM, AXIS, NEXT_TAB, BACK, FIT, SMOOTH, LOG_SCALE)
        case "data" | "samples":
            return (RUN, OPEN, _SCROLL, NEXT_TAB, BACK)
        case "scatter":
            return (RUN, OPEN, METRIC, NEXT_TAB, BACK)
