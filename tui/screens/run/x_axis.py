"""The x axis of a run's charts (steps, tokens, time or epochs), and the step at each place on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from finetop.core.protocol.messages.runs import Across, Curve
from finetop.core.protocol.runs import Queued, RunDetail, Running
from finetop.core.text import count
from finetop.tui.screens.run.zoom import Axis
from finetop.tui.widgets.axis import round_end, x_end
from finetop.tui.widgets.chart import place_at
from finetop.tui.widgets.series import Reading, View
from finetop.tui.widgets.ticks import x_words

AXES: Final[tuple[Across, ...]] = ("step", "tokens", "time", "epoch")
NAMES: Final[Mapping[Across, str]] = {
    "step": "by step",
    "tokens": "by tokens",
    "time": "by time, pauses left out",
    "epoch": "by epoch",
}

_FIRST_ENDS: Final[Mapping[Across, int]] = {"step": 50, "tokens": 10_000, "time": 60, "epoch": 1}


def next_x(x: Across, runs: Sequence[RunDetail]) -> Across:
    """Return the next axis that any of the runs has values for."""
    known = {"step", "time"}.union(*(run.row.metrics for run in runs))
    available = [axis for axis in AXES if axis in known]
    return available[(available.index(x) + 1) % len(available)] if x in available else "step"


def axis_of(detail: RunDetail, x: Across, newest: float | None, cells: int, before: float = 0.0) -> Axis:
    """Return a run's axis in `cells` cells. `newest` is its newest x value, `before` the end shown so far.

    The end is the planned one if the recipe gives it. On a time axis it is the expected end, rounded so that it seldom
    moves.
    """
    row, planned = detail.row, detail.planned
    if x == "step":
        return Axis(x_end(row.step, row.steps), row.step, cells)
    if newest is None:
        newest = row.metrics.get(x) or 0.0
    grain: float = 0.001 if x == "epoch" else 1
    if x == "time":
        return Axis(_time_end(detail, newest, before), newest, cells, grain)
    epochs = _epochs(detail)
    end = epochs if x == "epoch" else round(planned.get("tokens_per_epoch", 0.0) * epochs)
    return Axis(end if end >= newest > 0 else _unplanned(newest, end, x, before), newest, cells, grain)


def _epochs(detail: RunDetail) -> float:
    """Return how many epochs the planned steps are; the plan's own number ignores a limit in steps."""
    row, epoch = detail.row, detail.row.metrics.get("epoch")
    if not epoch or not row.step or not row.steps:
        return detail.planned.get("epochs", 0.0)
    return max(epoch, round(epoch * row.steps / row.step, 2))


def _unplanned(newest: float, planned: float, x: Across, before: float) -> float:
    return before if before >= newest > 0 else x_end(int(-(-newest // 1)), int(planned), _FIRST_ENDS[x])


def _time_end(detail: RunDetail, newest: float, before: float) -> float:
    state = detail.row.state
    if not isinstance(state, Running | Queued):
        return max(newest, 1.0)
    expected = newest + ((state.left_s or 0.0) if isinstance(state, Running) else 0.0)
    if before >= newest and expected <= before <= 2.5 * expected:
        return before
    return round_end(max(expected, 60.0))


def place_of(step: float, steps: Curve | None) -> float | None:
    """Return a step's fractional column on an axis other than steps; None outside of the axis."""
    if steps is None or not steps.column:
        return None
    for column, low, high in zip(steps.column, steps.low, steps.high, strict=True):
        if low <= step <= high:
            return column + (step - low) / max(1.0, high - low) * 0.99
    for before, after in pairwise(zip(steps.column, steps.low, steps.high, strict=True)):
        if before[2] < step < after[1]:
            return float(before[0])
    return None


def cell_of(step: int, view: View, steps: Curve | None, cells: int) -> int | None:
    """Return the chart cell of a step; None if it is out of view."""
    if view.x != "step":
        column = place_of(step, steps)
        return None if column is None else min(int(column) // 2, cells - 1)
    if not view.first <= step <= view.last:
        return None
    return min(int((step - view.first) / max(1, view.last - view.first) * cells), cells - 1)


def step_at(view: View, steps: Curve | None, cell: int, cells: int, reading: Reading | None = None) -> int:
    """Return the step of what is read at a chart cell, if that is one value's; else the last up to its middle.

    On other axes it is the last step up to the cell.
    """
    if view.x == "step":
        own_step = None if reading is None or reading.number != 1 else reading.step
        return int(place_at(view, cell, cells)) if own_step is None else own_step
    if steps is None or not steps.column:
        return 0
    until = [high for column, high in zip(steps.column, steps.high, strict=True) if column <= 2 * cell]
    return int(until[-1] if until else steps.low[0])


def place_words(view: View, cell: int, cells: int, step: int) -> str:
    """Return a cell's position on the axis, given its step: 'step 412', '1.2M tok', '40 min', 'epoch 1.5'."""
    return f"step {count(step)}" if view.x == "step" else x_words(place_at(view, cell, cells), view.x)


def steps_in(view: View, cell: int, cells: int) -> tuple[int, int]:
    """Return the first and the last step of a chart cell."""
    width = (view.last - view.first) / max(1, cells)
    first, end = (math.ceil(view.first + at * width - 1e-9) for at in (cell, cell + 1))
    return first, int(view.last) if cell == cells - 1 else max(first, end - 1)
