"""What the Run screen shows: its open tab, the position in each tab, how keys change them, and what a tab loads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from finetop.core.protocol.check_result import TaskResult, worst_first
from finetop.core.protocol.messages.runs import Across, GetRun
from finetop.core.protocol.metric_names import SYSTEM
from finetop.core.protocol.runs import CheckpointRow, Failed, Lost, Relative, RunDetail, RunRow
from finetop.core.wording.metrics import metric_keys
from finetop.tui.app_interface import Host
from finetop.tui.save import Sheet
from finetop.tui.screens.run import log_tab
from finetop.tui.screens.run.grid import SPARK, Grid, layout_of, numbered, system_layout, wanted_keys
from finetop.tui.screens.run.head import OF_CHARTS, Tab
from finetop.tui.screens.run.log_tab import LogView
from finetop.tui.screens.run.marks import events_of
from finetop.tui.screens.run.sample_diff import steps_of
from finetop.tui.screens.run.state import Checked, RunData, log_job
from finetop.tui.screens.run.steps import newest_first, relatives
from finetop.tui.screens.run.x_axis import axis_of, cell_of, next_x
from finetop.tui.screens.run.zoom import Axis, Shown, fitted, oldest_in, with_mouse, x_range
from finetop.tui.widgets.axis import Scale
from finetop.tui.widgets.chart import columns_of, plot_width
from finetop.tui.widgets.chart_grid import Layout, hit
from finetop.tui.widgets.pointed_lines import PointedLines
from finetop.tui.widgets.series import Stretch, View

PAGE = 1000  # a move by this many rows is a page of charts
Samples = Literal["beside", "three", "all"]  # two steps side by side; three per prompt; all in full
_SAMPLES: tuple[Samples, ...] = ("beside", "three", "all")


@dataclass(slots=True)
class ViewState:
    """What is held of a run, and where the user is on its screen."""

    held: RunData = field(default_factory=RunData)
    size: tuple[int, int] = (80, 18)  # columns and rows of the tab
    tab: Tab = "metrics"
    shown: Shown = field(default_factory=Shown)  # how the charts are drawn
    grid: Grid = field(default_factory=Grid)  # which metrics are drawn
    near: LogView = field(default_factory=LogView)  # the log at the charts' cursor
    step: int | None = None  # under the charts' cursor
    tops: dict[Tab, int] = field(default_factory=dict)  # first row in view of the long tabs
    log: LogView = field(default_factory=LogView)
    samples: Samples = "beside"
    pair: tuple[int, int] | None = None  # steps whose samples are side by side; None: first and last
    is_whole: bool = False  # all settings, not only differing ones
    task_at: int = 0
    check_at: int = 0
    step_at: int = 0
    is_reading: bool = False  # full answers of a task
    is_longer: bool = False  # the open tab does not fit on the screen
    scales: dict[tuple[object, ...], Scale] = field(default_factory=dict)
    ends: dict[Across, float] = field(default_factory=dict)  # ends of the x axes last shown

    @property
    def is_full(self) -> bool:
        """True if one chart fills the tab."""
        return self.grid.is_full and self.tab == "metrics"

    @property
    def has_search(self) -> bool:
        """True if the open tab shows search results: in the log, or metrics by name."""
        if self.tab == "log":
            return self.log.search is not None
        return self.tab == "metrics" and bool(self.grid.sought)

    @property
    def detail(self) -> RunDetail:
        """The run, once it has been loaded: nothing is drawn before that."""
        return self.held.known

    @property
    def row(self) -> RunRow:
        return self.held.known.row

    @property
    def has_failed(self) -> bool:
        """Whether the run ended with an error."""
        return isinstance(self.row.state, Failed | Lost)

    @property
    def metric_keys(self) -> list[str]:
        return metric_keys(self.row)

    @property
    def layout(self) -> Layout:
        if self.tab == "system":
            return system_layout(*self.size, len(self.charted))
        return layout_of(*self.size, is_over=self.has_failed, is_full=self.is_full)

    @property
    def room(self) -> int:
        """The number of charts on a page of the grid."""
        return layout_of(*self.size, is_over=self.has_failed).charts

    @property
    def axis(self) -> Axis:
        """The x axis of the charts."""
        return fitted(self.whole_axis, self.shown)

    @property
    def whole_axis(self) -> Axis:
        """The x axis to its planned end, which moves only where it must."""
        x, held = self.shown.x, self.held
        cells = plot_width(self.layout.chart_width)
        axis = axis_of(self.detail, x, held.newest.get(x), cells, self.ends.get(x, 0.0))
        self.ends[x] = axis.end
        if held.stretch.x != x:
            return axis
        return replace(axis, oldest=oldest_in(held.curves.values(), held.stretch))

    @property
    def in_view(self) -> tuple[float, float]:
        """The first and the last place in view of the charts."""
        return x_range(self.shown, self.axis)

    @property
    def charted(self) -> list[str]:
        """The metrics drawn on this page."""
        if self.tab == "system":
            return [key for key in SYSTEM if key in self.row.metrics]
        return self.grid.charts(self.metric_keys, self.room)

    @property
    def small(self) -> list[str]:
        """The metrics that are a number and a sparkline."""
        return self.grid.others(self.metric_keys, self.room)

    @property
    def metric(self) -> str | None:
        """The metric under the cursor."""
        return self.grid.metric(self.metric_keys) if self.tab == "metrics" else None

    def chart_under(self, x: int, y: int) -> tuple[int, int] | None:
        """Return the index of the chart at a cell of the tab, and the cell within that chart; None if there is none."""
        if self.tab not in OF_CHARTS:
            return None
        place = hit(self.layout, self.size[0], x, y + self.tops.get(self.tab, 0))
        return place if place is not None and place[0] < len(self.charted) else None

    @property
    def checked(self) -> Checked | None:
        """The check that is shown."""
        return self.held.checks[min(self.check_at, len(self.held.checks) - 1)] if self.held.checks else None

    @property
    def tasks(self) -> Sequence[TaskResult]:
        """The tasks of the check that is shown, as its table has them."""
        check = self.checked
        return worst_first(check.outcome) if check is not None else ()

    def turn_axis(self) -> None:
        """Switch to the next x axis that the run has: steps, tokens, time, epochs."""
        self.shown = replace(self.shown, x=next_x(self.shown.x, [self.detail]), cursor=None, zoom=None)
        self.scales.clear()

    def turn_full(self) -> bool:
        """Toggle the metric under the cursor between full screen and grid; return False if there is none."""
        keys = self.metric_keys
        if self.tab != "metrics" or not self.grid.listed(keys):
            return False
        if self.grid.at is None:
            self.grid.move(keys, self.room, 1)
        self.grid.is_full = not self.grid.is_full
        return True

    def go_back(self) -> bool:
        """Close what is open within the tab: whole answers, a search, one chart, a filter; returns whether it was."""
        if self.is_reading:
            self.is_reading = False
        elif self.tab == "log" and self.log.search is not None:
            self.log.search = None
        elif self.is_full:
            self.grid.is_full = False
        elif self.tab == "metrics" and self.grid.sought:
            self.grid.seek("")
        else:
            return False
        return True

    def turn_view(self) -> None:
        """Switch the view of the open tab: next metric group, earlier check, other job's log, more samples."""
        if self.tab == "metrics":
            self.grid.turn_group(self.metric_keys)
        elif self.tab == "check" and self.held.checks:
            self.check_at = (self.check_at + 1) % len(self.held.checks)
            self.task_at, self.is_reading = 0, False
        elif self.tab == "samples":
            self.samples = _SAMPLES[(_SAMPLES.index(self.samples) + 1) % len(_SAMPLES)]
        elif self.tab == "recipe":
            self.is_whole = not self.is_whole
        elif self.tab == "log" and self.detail.jobs:
            log_tab.show_next_log(self.log, self.detail)

    def move(self, rows: int) -> None:
        """Move by a number of rows in the open tab: its cursor, or its scroll position."""
        if self.tab == "metrics":
            keys, room = self.metric_keys, self.room
            if abs(rows) == PAGE:
                self.grid.turn_page(keys, room, rows // PAGE)
            else:
                self.grid.move(keys, room, rows)
        elif self.tab == "log":
            log_tab.scroll(self.log, self.held, rows, self.size[1] - 1)
        elif self.tab == "check" and not self.is_reading:
            last = len(self.tasks) - 1
            self.task_at = min(max(0, self.task_at + rows), max(0, last))
        elif self.tab == "steps":
            last = len(self.detail.checkpoints) + len(relatives(self.detail)) - 1
            self.step_at = min(max(0, self.step_at + rows), max(0, last))
        else:
            self.tops[self.tab] = max(0, self.tops.get(self.tab, 0) + rows)

    @property
    def chosen_step(self) -> CheckpointRow | None:
        """The checkpoint under the cursor of the steps."""
        listed = newest_first(self.detail)
        return listed[self.step_at] if self.step_at < len(listed) else None

    @property
    def chosen_relative(self) -> Relative | None:
        """The parent or child under the cursor of the steps, which go on into the tree below them."""
        at, related = self.step_at - len(self.detail.checkpoints), relatives(self.detail)
        return related[at] if 0 <= at < len(related) else None

    @property
    def shown_pair(self) -> tuple[int, int]:
        """The two steps whose samples stand beside each other."""
        steps = steps_of(self.detail.samples) or [0]
        pair = self.pair or (steps[0], steps[-1])
        return pair if set(pair) <= set(steps) else (steps[0], steps[-1])

    def turn_pair(self, cells: int) -> None:
        """Move the right sample to the next step; with shift (larger moves) the left one."""
        steps, pair = steps_of(self.detail.samples), list(self.shown_pair)
        if not steps:
            return
        side = 0 if abs(cells) > 1 else 1
        at = steps.index(pair[side]) + (1 if cells > 0 else -1)
        pair[side] = steps[min(max(0, at), len(steps) - 1)]
        self.samples, self.pair = "beside", (pair[0], pair[1])

    def point_at(self, step: int) -> None:
        """Put the charts' cursor on a step, and bring the step into view."""
        for shown in (self.shown, replace(self.shown, zoom=None)):
            cell = self._cell_of(shown, step)
            if cell is not None:
                self.shown = replace(shown, cursor=cell)
                return

    def _cell_of(self, shown: Shown, step: int) -> int | None:
        axis = self.axis
        return cell_of(step, View(*x_range(shown, axis), x=shown.x), self.held.steps, axis.cells)

    def to_event(self, direction: int) -> bool:
        """Go to the next (1) or previous (-1) event, on charts past the cursor's column; return whether it exists."""
        steps, shown = sorted({event.step for event in events_of(self.detail)}), self.shown
        here = self.step
        if self.tab == "log":
            here = log_tab.step_in_view(self.log, self.held)
        elif shown.cursor is not None:
            steps = [at for at in steps if self._cell_of(shown, at) != shown.cursor]
        if here is None:
            here = self.row.step + 1
        ahead = [step for step in steps if (step > here if direction > 0 else step < here)]
        if not ahead:
            return False
        step = ahead[0] if direction > 0 else ahead[-1]
        if self.tab == "log":
            log_tab.go_to_step(self.log, step)
        self.point_at(step)
        self.step = step
        return True

    def follow_log(self) -> None:
        """Put the charts' cursor on the step at which the log is read."""
        step = log_tab.step_in_view(self.log, self.held)
        if step is not None:
            self.point_at(step)

    def pointed_at(self, event: PointedLines.Used) -> Shown | None:
        """Return the view after a mouse event on the charts; None if the mouse was on no chart. A press selects one."""
        place = self.chart_under(event.x, event.y)
        if place is None:
            return None
        chart, cell = place
        start = self.chart_under(*event.start) if isinstance(event, PointedLines.Dragged) else None
        is_pressed = isinstance(event, PointedLines.Pointed) and not event.is_dragged
        if is_pressed and self.tab == "metrics" and not self.is_full:
            listed = self.grid.listed(self.metric_keys)
            at = listed.index(self.charted[chart])
            self.grid.point(at, len(listed) - 1, self.room)
        return with_mouse(self.shown, self.axis, event, cell, None if start is None else start[1])

    async def load(self, host: Host, run: str, redraw: Callable[[], object]) -> None:
        """Load the run, redraw, then load what the open tab needs."""
        held = self.held
        is_new = held.detail is None
        held.detail = detail = await host.ask(GetRun(run))
        if not is_new:
            redraw()
        if self.tab in OF_CHARTS:
            await self._load_charts(host)
        if self.tab == "system":
            await held.load_processes(host)
        if self.tab == "metrics":
            await held.load_log(host, log_job(detail))
        if self.tab == "log":
            await log_tab.load(host, held, self.log, redraw)
        if self.tab == "check":
            await held.load_checks(host)
        if self.tab in ("recipe", "steps"):
            await held.load_data(host)

    async def _load_charts(self, host: Host) -> None:
        layout = self.layout
        keys, columns = wanted_keys(self.charted), columns_of(layout.chart_width)
        for _ in range(2):  # the axis' end may be known only once its curves have arrived
            x, in_view = self.shown.x, self.in_view
            await self.held.load_curves(host, keys, Stretch(x, *in_view, columns))
            if x == "step" or in_view == self.in_view:
                break
        if self.tab == "metrics" and not self.is_full:
            await self.held.load_sparks(host, numbered(self.small, layout.chart_columns), SPARK)

    def sheet(self) -> Sheet:
        """Return the tab's charts and tables as a sheet to save; empty until the run is loaded."""
        from finetop.tui.save import Sheet, tables

        held, check = self.held, self.checked
        if held.detail is None:
            return Sheet("run")
        if self.tab in OF_CHARTS:
            drawn = {key: held.curves[key] for key in self.charted if key in held.curves}
            return tables.run_charts(f"{self.row.name}-{self.tab}", drawn, held.stretch)
        return tables.run(held.detail, self.tab, None if check is None else check.outcome)
