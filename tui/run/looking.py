"""How a run is looked at: which tab is open, and in each of them where; what the keys that only look change of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from finetop.core.check.telling.result import worst_first
from finetop.tui.run.across import axis_of, next_x
from finetop.tui.run.held import log_job
from finetop.tui.run.metrics import has_failed, layout_of
from finetop.tui.run.numbers import metric_keys
from finetop.tui.run.zoom import Axis, Shown
from finetop.tui.widgets import log
from finetop.tui.widgets.chart import plot_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.check.deciding.verdict import TaskResult
    from finetop.core.protocol import Across
    from finetop.core.run import RunDetail, RunRow
    from finetop.tui.run.head import Tab
    from finetop.tui.run.held import Checked, Held
    from finetop.tui.run.metrics import Layout
    from finetop.tui.widgets.axis import Scale


@dataclass(slots=True)
class Looks:
    """Where the user is on the screen of a run."""

    size: tuple[int, int] = (80, 18)  # of the tab
    tab: Tab = "metrics"
    shown: Shown = field(default_factory=Shown)  # of the charts
    large: tuple[str, ...] = ()  # metrics that the user made charts, the newest last
    metric_at: int | None = None  # the cursor among the metrics: charts first
    tops: dict[Tab, int] = field(default_factory=dict)  # the first row in view of the long tabs
    log_first: int | None = None  # None: follow the end
    chosen_job: int | None = None
    all_samples: bool = False
    task_at: int = 0
    check_at: int = 0
    step_at: int = 0
    is_reading: bool = False  # whole answers of a task
    scales: dict[tuple[object, ...], Scale] = field(default_factory=dict)
    ends: dict[Across, float] = field(default_factory=dict)  # of the x axes, as they were shown

    def layout(self, row: RunRow) -> Layout:
        return layout_of(*self.size, is_over=has_failed(row))

    def axis(self, held: Held, detail: RunDetail) -> Axis:
        """Give the x axis of the charts; its end moves only where it must."""
        x = self.shown.x
        cells = plot_width(self.layout(detail.row).chart_width)
        axis = axis_of(detail, x, held.newest.get(x), cells, self.ends.get(x, 0.0))
        self.ends[x] = axis.end
        return axis

    def charted(self, row: RunRow) -> list[str]:
        """Choose the metrics that are drawn large: those that the user wants, and the most telling."""
        keys, room = metric_keys(row), self.layout(row).charts
        wanted = [key for key in self.large if key in keys][-room:]
        others = [key for key in keys if key not in wanted]
        return [*others[: room - len(wanted)], *wanted]

    def small(self, row: RunRow) -> list[str]:
        """List the metrics that are a number and a sparkline."""
        charts = self.charted(row)
        return [key for key in metric_keys(row) if key not in charts]

    def metric(self, row: RunRow) -> str | None:
        """Name the metric under the cursor."""
        keys = [*self.charted(row), *self.small(row)]
        return None if self.metric_at is None or not keys else keys[min(self.metric_at, len(keys) - 1)]


def checked(looks: Looks, held: Held) -> Checked | None:
    """Give the check that is shown."""
    return held.checks[min(looks.check_at, len(held.checks) - 1)] if held.checks else None


def tasks_of(looks: Looks, held: Held) -> Sequence[TaskResult]:
    """List the tasks of the check that is shown, as its table has them."""
    one = checked(looks, held)
    return worst_first(one.outcome) if one is not None else ()


def turn_axis(looks: Looks, detail: RunDetail) -> None:
    """Draw the charts over the next thing that the run has: steps, tokens, time, epochs."""
    looks.shown = replace(looks.shown, x=next_x(looks.shown.x, detail), cursor=None, zoom=None)
    looks.scales.clear()


def enlarge(looks: Looks, row: RunRow) -> bool:
    """Make the metric under the cursor a chart, or a number again; returns whether it was one to turn."""
    key = looks.metric(row)
    if key is None or (key in looks.charted(row) and key not in looks.large):
        return False
    others = tuple(one for one in looks.large if one != key)
    looks.large = others if key in looks.large else (*others, key)
    looks.metric_at = [*looks.charted(row), *looks.small(row)].index(key)
    return True


def move_metric(looks: Looks, row: RunRow, rows: int) -> None:
    """Move the cursor among the metrics; it begins at the first that is no chart."""
    charts, total = len(looks.charted(row)), len(metric_keys(row))
    at = charts - (rows > 0) if looks.metric_at is None else looks.metric_at
    looks.metric_at = min(max(0, at + rows), total - 1) if total else None


def turned(looks: Looks, held: Held, detail: RunDetail) -> None:
    """Turn the view of the open tab: the check before, another job's log, all samples."""
    if looks.tab == "check" and held.checks:
        looks.check_at = (looks.check_at + 1) % len(held.checks)
        looks.task_at, looks.is_reading = 0, False
    elif looks.tab == "samples":
        looks.all_samples = not looks.all_samples
    elif looks.tab == "log" and detail.jobs:
        ids = [job.id for job in detail.jobs]
        shown = log_job(detail, looks.chosen_job)
        looks.chosen_job = ids[(ids.index(shown.id) + 1) % len(ids)] if shown is not None else ids[0]
        looks.log_first = None


def moved_in(looks: Looks, held: Held, detail: RunDetail, rows: int) -> None:
    """Move by so many rows in the open tab: its cursor, or what is seen of it."""
    if looks.tab == "metrics":
        move_metric(looks, detail.row, rows)
    elif looks.tab == "log":
        looks.log_first = log.scrolled(held.tail, looks.log_first, rows, looks.size[1] - 1)
    elif looks.tab == "check" and not looks.is_reading:
        looks.task_at = min(max(0, looks.task_at + rows), max(0, len(tasks_of(looks, held)) - 1))
    elif looks.tab == "steps":
        looks.step_at = min(max(0, looks.step_at + rows), max(0, len(detail.checkpoints) - 1))
    else:
        looks.tops[looks.tab] = max(0, looks.tops.get(looks.tab, 0) + rows)
