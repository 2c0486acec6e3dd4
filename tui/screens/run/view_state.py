"""What of a run is seen: which tab is open, and where in each; what keys change of it, and what the tab asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from finetop.core.protocol.check_result import TaskResult, worst_first
from finetop.core.protocol.messages.runs import Across, GetRun
from finetop.core.protocol.runs import CheckpointRow, Relative, RunDetail, RunRow
from finetop.tui.app_interface import Host
from finetop.tui.save import Sheet
from finetop.tui.screens.run import log_tab
from finetop.tui.screens.run.charts import layout_of, system_layout, wanted_keys
from finetop.tui.screens.run.grid import Grid
from finetop.tui.screens.run.head import OF_CHARTS, Tab
from finetop.tui.screens.run.log_tab import LogView
from finetop.tui.screens.run.metrics import SPARK, has_failed, numbered
from finetop.tui.screens.run.sample_diff import steps_of
from finetop.tui.screens.run.state import (
    Checked,
    RunData,
    load_checks,
    load_curves,
    load_data,
    load_log,
    load_processes,
    load_sparks,
    log_job,
)
from finetop.tui.screens.run.steps import newest_first, relatives
from finetop.tui.screens.run.x_axis import axis_of, next_x
from finetop.tui.screens.run.zoom import Axis, Shown, fitted, oldest_in, stretch
from finetop.tui.screens.shared.metric_names import SYSTEM, metric_keys
from finetop.tui.widgets.axis import Scale
from finetop.tui.widgets.chart import columns_of, plot_width
from finetop.tui.widgets.chart_grid import Layout, hit

PAGE = 1000  # rows that stand for a page of charts
Samples = Literal["beside", "three", "all"]  # two steps beside each other; three of each prompt; all, whole
_SAMPLES: tuple[Samples, ...] = ("beside", "three", "all")


@dataclass(slots=True)
class ViewState:
    """Where the user is on the screen of a run."""

    size: tuple[int, int] = (80, 18)  # of the tab
    tab: Tab = "metrics"
    shown: Shown = field(default_factory=Shown)  # of the charts
    grid: Grid = field(default_factory=Grid)  # of the metrics
    near: LogView = field(default_factory=LogView)  # the log at the charts' cursor
    step: int | None = None  # under the charts' cursor
    tops: dict[Tab, int] = field(default_factory=dict)  # the first row in view of the long tabs
    log: LogView = field(default_factory=LogView)
    samples: Samples = "beside"
    pair: tuple[int, int] | None = None  # steps whose samples stand side by side; None: first and last
    is_whole: bool = False  # all settings, not those alone that differ
    task_at: int = 0
    check_at: int = 0
    step_at: int = 0
    is_reading: bool = False  # whole answers of a task
    is_longer: bool = False  # than its room: what the open tab has to show
    scales: dict[tuple[object, ...], Scale] = field(default_factory=dict)
    ends: dict[Across, float] = field(default_factory=dict)  # of the x axes, as they were shown

    @property
    def is_full(self) -> bool:
        """Whether one chart has the whole tab."""
        return self.grid.is_full and self.tab == "metrics"

    @property
    def has_search(self) -> bool:
        """Whether the open tab shows what was searched for: in the log, or metrics by their names."""
        return (
            self.log.search is not None
            if self.tab == "log"
            else self.tab == "metrics" and bool(self.grid.sought)
        )

    def layout(self, row: RunRow) -> Layout:
        if self.tab == "system":
            return system_layout(*self.size, sum(key in row.metrics for key in SYSTEM))
        return layout_of(*self.size, is_over=has_failed(row), is_full=self.is_full)

    def room(self, row: RunRow) -> int:
        """Say how many charts a page of the grid has."""
        return layout_of(*self.size, is_over=has_failed(row)).charts

    def axis(self, held: RunData, detail: RunDetail) -> Axis:
        """Return the x axis of the charts."""
        return fitted(self.whole_axis(held, detail), self.shown)

    def whole_axis(self, held: RunData, detail: RunDetail) -> Axis:
        """Return the x axis to its planned end, which moves only where it must."""
        x = self.shown.x
        cells = plot_width(self.layout(detail.row).chart_width)
        axis = axis_of(detail, x, held.newest.get(x), cells, self.ends.get(x, 0.0))
        self.ends[x] = axis.end
        if held.x != x:
            return axis
        oldest = oldest_in(held.curves.values(), held.first, held.last, held.columns)
        return replace(axis, oldest=oldest)

    def charted(self, row: RunRow) -> list[str]:
        """List the metrics that are drawn."""
        if self.tab == "system":
            return [key for key in SYSTEM if key in row.metrics]
        return self.grid.charts(metric_keys(row), self.room(row))

    def small(self, row: RunRow) -> list[str]:
        """List the metrics that are a number and a sparkline."""
        return self.grid.others(metric_keys(row), self.room(row))

    def metric(self, row: RunRow) -> str | None:
        """Name the metric under the cursor."""
        return self.grid.metric(metric_keys(row)) if self.tab == "metrics" else None


def chart_under(view_state: ViewState, detail: RunDetail, x: int, y: int) -> tuple[int, int] | None:
    """Return which chart of the open tab a cell of it is in, and which cell of the chart's picture."""
    if view_state.tab not in OF_CHARTS:
        return None
    place = hit(
        view_state.layout(detail.row), view_state.size[0], x, y + view_state.tops.get(view_state.tab, 0)
    )
    return place if place is not None and place[0] < len(view_state.charted(detail.row)) else None


def checked(view_state: ViewState, held: RunData) -> Checked | None:
    """Return the check that is shown."""
    return held.checks[min(view_state.check_at, len(held.checks) - 1)] if held.checks else None


def tasks_of(view_state: ViewState, held: RunData) -> Sequence[TaskResult]:
    """List the tasks of the check that is shown, as its table has them."""
    check = checked(view_state, held)
    return worst_first(check.outcome) if check is not None else ()


def turn_axis(view_state: ViewState, detail: RunDetail) -> None:
    """Draw the charts over the next thing that the run has: steps, tokens, time, epochs."""
    view_state.shown = replace(view_state.shown, x=next_x(view_state.shown.x, detail), cursor=None, zoom=None)
    view_state.scales.clear()


def turn_full(view_state: ViewState, detail: RunDetail) -> bool:
    """Give the whole tab to the metric under the cursor, or show the grid again; returns whether there is one."""
    keys = metric_keys(detail.row)
    if view_state.tab != "metrics" or not view_state.grid.listed(keys):
        return False
    if view_state.grid.at is None:
        view_state.grid.move(keys, view_state.room(detail.row), 1)
    view_state.grid.is_full = not view_state.grid.is_full
    return True


def went_back(view_state: ViewState) -> bool:
    """Close what is open within the tab: whole answers, a search, one chart, some metrics; returns whether it was."""
    if view_state.is_reading:
        view_state.is_reading = False
    elif view_state.tab == "log" and view_state.log.search is not None:
        view_state.log.search = None
    elif view_state.is_full:
        view_state.grid.is_full = False
    elif view_state.tab == "metrics" and view_state.grid.sought:
        view_state.grid.seek("")
    else:
        return False
    return True


def turned(view_state: ViewState, held: RunData, detail: RunDetail) -> None:
    """Turn the view of the open tab: a group of metrics, the check before, another job's log, more samples."""
    if view_state.tab == "metrics":
        view_state.grid.turn_group(metric_keys(detail.row))
    elif view_state.tab == "check" and held.checks:
        view_state.check_at = (view_state.check_at + 1) % len(held.checks)
        view_state.task_at, view_state.is_reading = 0, False
    elif view_state.tab == "samples":
        view_state.samples = _SAMPLES[(_SAMPLES.index(view_state.samples) + 1) % len(_SAMPLES)]
    elif view_state.tab == "recipe":
        view_state.is_whole = not view_state.is_whole
    elif view_state.tab == "log" and detail.jobs:
        log_tab.turned(view_state.log, detail)


def moved_in(view_state: ViewState, held: RunData, detail: RunDetail, rows: int) -> None:
    """Move by so many rows in the open tab: its cursor, or what is seen of it."""
    if view_state.tab == "metrics":
        keys, room = metric_keys(detail.row), view_state.room(detail.row)
        if abs(rows) == PAGE:
            view_state.grid.turn_page(keys, room, rows // PAGE)
        else:
            view_state.grid.move(keys, room, rows)
    elif view_state.tab == "log":
        log_tab.moved(view_state.log, held, rows, view_state.size[1] - 1)
    elif view_state.tab == "check" and not view_state.is_reading:
        last = len(tasks_of(view_state, held)) - 1
        view_state.task_at = min(max(0, view_state.task_at + rows), max(0, last))
    elif view_state.tab == "steps":
        last = len(detail.checkpoints) + len(relatives(detail)) - 1
        view_state.step_at = min(max(0, view_state.step_at + rows), max(0, last))
    else:
        view_state.tops[view_state.tab] = max(0, view_state.tops.get(view_state.tab, 0) + rows)


def chosen_step(view_state: ViewState, detail: RunDetail) -> CheckpointRow | None:
    """Return the checkpoint under the cursor of the steps."""
    listed = newest_first(detail)
    return listed[view_state.step_at] if view_state.step_at < len(listed) else None


def chosen_relative(view_state: ViewState, detail: RunDetail) -> Relative | None:
    """Return the parent or child under the cursor of the steps, which go on into the tree below them."""
    at, related = view_state.step_at - len(detail.checkpoints), relatives(detail)
    return related[at] if 0 <= at < len(related) else None


def pair_of(view_state: ViewState, detail: RunDetail) -> tuple[int, int]:
    """Return the two steps whose samples stand beside each other."""
    steps = steps_of(detail.samples) or [0]
    pair = view_state.pair or (steps[0], steps[-1])
    return pair if set(pair) <= set(steps) else (steps[0], steps[-1])


def turn_pair(view_state: ViewState, detail: RunDetail, cells: int) -> None:
    """Take the next sampled step beside the other: on the right; by leaps (shift) on the left."""
    steps, pair = steps_of(detail.samples), list(pair_of(view_state, detail))
    if not steps:
        return
    side = 0 if abs(cells) > 1 else 1
    at = steps.index(pair[side]) + (1 if cells > 0 else -1)
    pair[side] = steps[min(max(0, at), len(steps) - 1)]
    view_state.samples, view_state.pair = "beside", (pair[0], pair[1])


async def load(
    host: Host, held: RunData, run: str, view_state: ViewState, redraw: Callable[[], object]
) -> None:
    """Ask how a run stands, which is shown before the rest has come, and for what the open tab needs."""
    is_new = held.detail is None
    held.detail = detail = await host.ask(GetRun(run))
    if not is_new:
        redraw()
    if view_state.tab in OF_CHARTS:
        await _load_charts(host, held, detail, view_state)
    if view_state.tab == "system":
        await load_processes(host, held)
    if view_state.tab == "metrics":
        await load_log(host, held, log_job(detail))
    if view_state.tab == "log":
        await log_tab.load(host, held, detail, view_state.log, redraw)
    if view_state.tab == "check":
        await load_checks(host, held)
    if view_state.tab in ("recipe", "steps"):
        await load_data(host, held)


async def _load_charts(host: Host, held: RunData, detail: RunDetail, view_state: ViewState) -> None:
    row, layout = detail.row, view_state.layout(detail.row)
    keys, columns = wanted_keys(view_state.charted(row)), columns_of(layout.chart_width)
    for _ in range(2):  # where an axis ends may be known only when its curves came
        x, (first, last) = view_state.shown.x, stretch(view_state.shown, view_state.axis(held, detail))
        await load_curves(host, held, keys, x, first, last, columns)
        if x == "step" or (first, last) == stretch(view_state.shown, view_state.axis(held, detail)):
            break
    if view_state.tab == "metrics" and not view_state.is_full:
        await load_sparks(host, held, numbered(view_state.small(row), layout.chart_columns), SPARK)


def sheet_of(view_state: ViewState, held: RunData, detail: RunDetail | None) -> Sheet:
    """Return charts and tables of the tab; none while nothing is known of the run."""
    from finetop.tui.save import Sheet, tables

    if detail is None:
        return Sheet("run")
    check = checked(view_state, held)
    stretch = (held.x or "step", held.first, held.last, held.columns)
    outcome = None if check is None else check.outcome
    return tables.run(detail, view_state.tab, view_state.charted(detail.row), held.curves, stretch, outcome)
