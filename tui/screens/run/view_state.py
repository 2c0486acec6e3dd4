"""How a run is looked at: which tab is open, and in each of them where; what the keys that only look change of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from finetop.core.protocol.check_result import worst_first
from finetop.tui.screens.run import log_tab
from finetop.tui.screens.run.charts import layout_of, system_layout
from finetop.tui.screens.run.lineage import relatives
from finetop.tui.screens.run.log_tab import LogLook
from finetop.tui.screens.run.metric_names import SYSTEM, metric_keys
from finetop.tui.screens.run.metrics import has_failed
from finetop.tui.screens.run.sample_diff import steps_of
from finetop.tui.screens.run.steps import newest_first
from finetop.tui.screens.run.x_axis import axis_of, next_x
from finetop.tui.screens.run.zoom import Axis, Shown
from finetop.tui.widgets.chart import plot_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.check_result import TaskResult
    from finetop.core.protocol.messages.runs import Across
    from finetop.core.protocol.runs import CheckpointRow, Relative, RunDetail, RunRow
    from finetop.tui.screens.run.charts import Layout
    from finetop.tui.screens.run.head import Tab
    from finetop.tui.screens.run.state import Checked, Held
    from finetop.tui.widgets.axis import Scale


Samples = Literal["beside", "three", "all"]  # two steps beside each other; three of each prompt; all, whole
_SAMPLES: tuple[Samples, ...] = ("beside", "three", "all")


@dataclass(slots=True)
class Looks:
    """Where the user is on the screen of a run."""

    size: tuple[int, int] = (80, 18)  # of the tab
    tab: Tab = "metrics"
    shown: Shown = field(default_factory=Shown)  # of the charts
    large: tuple[str, ...] = ()  # metrics that the user made charts, the newest last
    metric_at: int | None = None  # the cursor among the metrics: charts first
    tops: dict[Tab, int] = field(default_factory=dict)  # the first row in view of the long tabs
    log: LogLook = field(default_factory=LogLook)
    samples: Samples = "beside"
    pair: tuple[int, int] | None = (
        None  # the steps whose samples stand beside each other; None: first and last
    )
    is_whole: bool = False  # all settings, not those alone that differ
    task_at: int = 0
    check_at: int = 0
    step_at: int = 0
    is_reading: bool = False  # whole answers of a task
    is_longer: bool = False  # than its room: what the open tab has to show
    scales: dict[tuple[object, ...], Scale] = field(default_factory=dict)
    ends: dict[Across, float] = field(default_factory=dict)  # of the x axes, as they were shown

    def layout(self, row: RunRow) -> Layout:
        if self.tab == "system":
            return system_layout(*self.size, sum(key in row.metrics for key in SYSTEM))
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
        if self.tab == "system":
            return [key for key in SYSTEM if key in row.metrics]
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
    """Turn the view of the open tab: the check before, another job's log, more samples, all settings."""
    if looks.tab == "check" and held.checks:
        looks.check_at = (looks.check_at + 1) % len(held.checks)
        looks.task_at, looks.is_reading = 0, False
    elif looks.tab == "samples":
        looks.samples = _SAMPLES[(_SAMPLES.index(looks.samples) + 1) % len(_SAMPLES)]
    elif looks.tab == "recipe":
        looks.is_whole = not looks.is_whole
    elif looks.tab == "log" and detail.jobs:
        log_tab.turned(looks.log, detail)


def moved_in(looks: Looks, held: Held, detail: RunDetail, rows: int) -> None:
    """Move by so many rows in the open tab: its cursor, or what is seen of it."""
    if looks.tab == "metrics":
        move_metric(looks, detail.row, rows)
    elif looks.tab == "log":
        log_tab.moved(looks.log, held, rows, looks.size[1] - 1)
    elif looks.tab == "check" and not looks.is_reading:
        looks.task_at = min(max(0, looks.task_at + rows), max(0, len(tasks_of(looks, held)) - 1))
    elif looks.tab == "steps":
        last = len(detail.checkpoints) + len(relatives(detail)) - 1
        looks.step_at = min(max(0, looks.step_at + rows), max(0, last))
    else:
        looks.tops[looks.tab] = max(0, looks.tops.get(looks.tab, 0) + rows)


def chosen_step(looks: Looks, detail: RunDetail) -> CheckpointRow | None:
    """Give the checkpoint under the cursor of the steps."""
    listed = newest_first(detail)
    return listed[looks.step_at] if looks.step_at < len(listed) else None


def chosen_relative(looks: Looks, detail: RunDetail) -> Relative | None:
    """Give the parent or child under the cursor of the steps, which go on into the tree below them."""
    at, found = looks.step_at - len(detail.checkpoints), relatives(detail)
    return found[at] if 0 <= at < len(found) else None


def pair_of(looks: Looks, detail: RunDetail) -> tuple[int, int]:
    """Give the two steps whose samples stand beside each other."""
    steps = steps_of(detail.samples) or [0]
    pair = looks.pair or (steps[0], steps[-1])
    return pair if set(pair) <= set(steps) else (steps[0], steps[-1])


def turn_pair(looks: Looks, detail: RunDetail, cells: int) -> None:
    """Take the next sampled step beside the other: on the right; by leaps (shift) on the left."""
    steps, pair = steps_of(detail.samples), list(pair_of(looks, detail))
    if not steps:
        return
    side = 0 if abs(cells) > 1 else 1
    at = steps.index(pair[side]) + (1 if cells > 0 else -1)
    pair[side] = steps[min(max(0, at), len(steps) - 1)]
    looks.samples, looks.pair = "beside", (pair[0], pair[1])
