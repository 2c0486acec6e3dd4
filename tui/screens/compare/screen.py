"""The Compare screen: several runs, their curves over each other, what differs, what came out, the trade-off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult

from finetop.core.client import compare_runs
from finetop.core.protocol.runs import RunDetail
from finetop.core.text import count
from finetop.tui.app_interface import host_of
from finetop.tui.keys import BACK, PAGES, Key, bindings
from finetop.tui.save import Sheet
from finetop.tui.screens.compare.draw import (
    data_lines,
    head_lines,
    sample_lines,
    scatter_lines,
    table_lines,
    targets_of,
)
from finetop.tui.screens.compare.state import (
    LETTERS,
    TABS,
    ComparedRuns,
    Tab,
    load_curves,
    load_data,
    load_runs,
)
from finetop.tui.screens.run.keys import FAR_RIGHT, LOG_SCALE, RIGHT, SMOOTH, TAB_BEFORE, ZOOM, ZOOM_OUT
from finetop.tui.screens.run.metric_names import metric_keys, shown, title_of
from finetop.tui.screens.run.zoom import Axis, Shown, moved, smoother, stretch, zoomed
from finetop.tui.text import Line, decimals, line_width
from finetop.tui.widgets.axis import x_end
from finetop.tui.widgets.chart import Series, View, columns_of, draw, fitted, place_at, plot_width, value_at
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.loaded_screen import LoadedScreen

CHART = 3  # of the body is the chart a third, and no more than 14 rows
TALLEST = 14
ROOM = 0.04  # of the x axis behind the longest run, for the letters
NEXT_TAB = Key("tab", "next tab", "tab(1)", "next tab: numbers, data, samples, scatter")
RUN = Key("j,down", "run", "choose(1)", "the next of the runs: its curve is bold, enter opens it", sign="↑↓")
RUN_BEFORE = Key("k,up", "", "choose(-1)", "the run before")
OPEN = Key("enter", "open it", "open", "open the run that is chosen", "finetop show RUN")
CURSOR = Key("left,h", "cursor", "cursor(-1)", "cursor on the chart to the left", sign="←→")
FAR_LEFT = Key("shift+left", "", "cursor(-10)", "ten columns to the left")
ALL = Key("0", "", "all", "all steps, no cursor")
METRIC = Key("v", "metric", "metric(1)", "the next metric")
METRIC_BEFORE = Key("V", "", "metric(-1)", "the metric before")
DROP = Key("X", "", "drop", "leave the chosen run out of this picture; nothing is removed")
MOVES = (
    *PAGES,
    Key("g,home", "", "ends(-1)", "the first row"),
    Key("G,end", "", "ends(1)", "the last row"),
)
KEYS = (
    *(NEXT_TAB, TAB_BEFORE, RUN, RUN_BEFORE, OPEN, METRIC, METRIC_BEFORE, CURSOR, RIGHT, FAR_LEFT, FAR_RIGHT),
    *(ZOOM, ZOOM_OUT, ALL, LOG_SCALE, SMOOTH, DROP, BACK, *MOVES),
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
        self.shown = Shown()
        self.chosen = 0
        self.metric = ""
        self.target = 0  # which of the targets' metrics the scatter shows
        self.tops: dict[Tab, int] = {}

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="head")
        yield Lines(id="body")
        yield Bottom()

    async def to_save(self) -> Sheet:
        """Return the curves and the tables, for a file."""
        from finetop.tui.save import tables

        held = self.held
        columns = columns_of(self.body_size[0])
        return tables.compare(held.runs, held.metric, held.curves, (held.first, held.last, columns))

    def to_copy(self) -> str:
        return self.names[self.chosen]

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def body_size(self) -> tuple[int, int]:
        size = self.query_one("#body").size
        return size.width, size.height

    @property
    def _axis(self) -> Axis:
        newest = max((run.row.step for run in self.held.runs), default=0)
        return Axis(end_of(self.held.runs), newest, plot_width(self.body_size[0]))

    def redraw(self) -> None:
        head, body = self.query_one("#head", Lines), self.query_one("#body", Lines)
        runs = self.held.runs
        if not runs:
            words = self._trouble or "asking the supervisor …"
            head.show((((f" Compare {len(self.names)} runs", "bold"),), ((f"   {words}", "dim"),)))
            body.show(())
            self.query_one(Bottom).offer((), footer_keys(self.tab)[-1:])
            return
        lines, where = self._body_lines()
        head.show(head_lines(runs, self.chosen, self.tab, self.size.width, where))
        body.show(lines)
        words = f"open {LETTERS[self.chosen]}. {compare_runs.front_sentence(runs, LETTERS)}"
        self.query_one(Bottom).offer((next_line("enter", words),), footer_keys(self.tab))

    def _body_lines(self) -> tuple[list[Line], str]:
        width, height = self.body_size
        held, host = self.held, host_of(self)
        match self.tab:
            case "numbers":
                chart_height = min(TALLEST, max(6, height // CHART))
                view = View(
                    held.first, held.last, 0, self.shown.cursor, self.shown.smoothing, self.shown.is_log
                )
                chart = (
                    chart_lines(held, view, self.chosen, width, chart_height, only_ascii=host.look.ascii)
                    if held.metric
                    else []
                )
                below, where = self._part(
                    table_lines(held.runs, self.chosen, width, host.now()), height - len(chart)
                )
                return [*chart, *below], where
            case "data":
                return self._part(data_lines(held, self.chosen, width), height)
            case "samples":
                return self._part(sample_lines(held.runs, self.chosen, width), height)
            case "scatter":
                metrics = targets_of(held.runs)
                metric = metrics[self.target % len(metrics)] if metrics else ""
                return self._part(scatter_lines(held.runs, metric, self.chosen, width, height), height)

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
        metrics = metrics_of(held.runs)
        if self.metric not in metrics:
            self.metric = metrics[0] if metrics else ""
        if self.tab == "numbers":
            first, last = stretch(self.shown, self._axis)
            await load_curves(host, held, self.metric, first, last, columns_of(self.body_size[0]))
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
            host_of(self).say("Two runs are the fewest that can be compared.")
            return
        self.names.pop(self.chosen)
        self.held.runs.pop(self.chosen)
        if self.held.curves:
            self.held.curves.pop(self.chosen)
        self.chosen = min(self.chosen, len(self.names) - 1)
        self.look_anew()

    def action_metric(self, by: int) -> None:
        if self.tab == "scatter":
            self.target += by
            self.redraw()
            return
        metrics = metrics_of(self.held.runs)
        if metrics and self.metric in metrics:
            self.metric = metrics[(metrics.index(self.metric) + by) % len(metrics)]
            self._wake.set()

    def action_cursor(self, cells: int) -> None:
        self._show(moved(self.shown, self._axis, cells))

    def action_zoom(self, direction: int) -> None:
        self._show(zoomed(self.shown, self._axis, direction))

    def action_all(self) -> None:
        self._show(replace(self.shown, cursor=None, zoom=None))

    def action_log_scale(self) -> None:
        self._show(replace(self.shown, is_log=not self.shown.is_log))

    def action_smooth(self) -> None:
        self._show(smoother(self.shown))

    def _show(self, shown: Shown) -> None:
        if self.tab != "numbers" or not self.held.runs:
            return
        is_other_stretch = shown.zoom != self.shown.zoom
        self.shown = shown
        self.redraw()
        if is_other_stretch:
            self._wake.set()

    def action_page(self, direction: int) -> None:
        self.tops[self.tab] = max(0, self.tops.get(self.tab, 0) + direction * max(1, self.body_size[1] // 2))
        self.redraw()

    def action_ends(self, direction: int) -> None:
        self.tops[self.tab] = 0 if direction < 0 else 1_000_000
        self.redraw()

    def action_back(self) -> None:
        self.dismiss()


def metrics_of(runs: Sequence[RunDetail]) -> list[str]:
    """List the metrics that any of the runs has, the most telling first."""
    return list(dict.fromkeys(key for run in runs for key in metric_keys(run.row)))


def end_of(runs: Sequence[RunDetail]) -> int:
    """Return the last step of the x axis: that of the longest run, and room for the letters."""
    longest = max((x_end(run.row.step, run.row.steps) for run in runs), default=1)
    return longest + max(1, round(ROOM * longest))


def series_of(held: ComparedRuns, chosen: int) -> list[Series]:
    """Return what is drawn, the chosen run last, so that its letter is on top."""
    numbered = [
        (number, Series(curve, end=LETTERS[number], is_strong=number == chosen))
        for number, curve in enumerate(held.curves)
        if curve is not None and curve.column
    ]
    return [series for _, series in sorted(numbered, key=lambda pair: (pair[0] == chosen, pair[0]))]


def chart_lines(
    held: ComparedRuns, view: View, chosen: int, width: int, height: int, *, only_ascii: bool
) -> list[Line]:
    """Draw the chart with its title in `height` rows."""
    series = series_of(held, chosen)
    picture = draw(
        series,
        width=width,
        height=height - 1,
        view=view,
        scale=fitted(None, series, view),
        only_ascii=only_ascii,
    )
    return [_title(held, view, chosen, width), *picture]


def _title(held: ComparedRuns, view: View, chosen: int, width: int) -> Line:
    """Write the metric, and each run's value at the cursor or at its end; what does not fit goes as a whole."""
    line: Line = ((f" {title_of(held.metric)}", "bold"),)
    parts: list[Line] = []
    if view.cursor is not None:
        parts.append(((f"step {count(round(place_at(view, view.cursor, plot_width(width))))}", "bold"),))
    for number, curve in enumerate(held.curves):
        if curve is None:
            continue
        value = (
            curve.last_value if view.cursor is None else value_at(Series(curve), view.cursor, view.smoothing)
        )
        text = "-" if value is None else shown(held.metric, value)
        parts.append(((f"{LETTERS[number]} {text}", "bold" if number == chosen else ""),))
    if view.smoothing:
        parts.append(((f"smoothed {decimals(view.smoothing, 1)}", "dim"),))
    if view.is_log:
        parts.append((("log y", "dim"),))
    for part in parts:
        if line_width(line) + 3 + line_width(part) <= width:
            line = (*line, ("   ", ""), *part)
    return line


def footer_keys(tab: Tab) -> tuple[Key, ...]:
    """Choose the keys for the footer."""
    match tab:
        case "numbers":
            return (RUN, OPEN, METRIC, CURSOR, ZOOM, NEXT_TAB, LOG_SCALE, SMOOTH, BACK)
        case "data" | "samples":
            return (RUN, OPEN, _SCROLL, NEXT_TAB, BACK)
        case "scatter":
            return (RUN, OPEN, METRIC, NEXT_TAB, BACK)
