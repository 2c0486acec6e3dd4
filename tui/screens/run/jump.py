"""Going to a place in a run: the charts' cursor to a step, an alarm, a checkpoint, to where the log is read."""

from __future__ import annotations

from dataclasses import replace

from finetop.tui.screens.run.log_tab import opened_at, step_in_view
from finetop.tui.screens.run.marks import events_of
from finetop.tui.screens.run.view_state import ViewState
from finetop.tui.screens.run.x_axis import cell_of
from finetop.tui.screens.run.zoom import Shown, stretch, with_mouse
from finetop.tui.widgets.pointed_lines import PointedLines
from finetop.tui.widgets.series import View


def point_at(state: ViewState, step: int) -> None:
    """Put the charts' cursor on a step; one that is out of view is brought into it."""
    for shown in (state.shown, replace(state.shown, zoom=None)):
        cell = _cell_of(shown, state, step)
        if cell is not None:
            state.shown = replace(shown, cursor=cell)
            return


def _cell_of(shown: Shown, state: ViewState, step: int) -> int | None:
    axis = state.axis
    return cell_of(step, View(*stretch(shown, axis), x=shown.x), state.held.steps, axis.cells)


def to_event(state: ViewState, direction: int) -> bool:
    """Go to the next alarm, check or checkpoint (1) or the one before (-1); returns whether there is one.

    On the charts those in the cursor's own column are not gone to: they are named there together.
    """
    steps, shown = sorted({event.step for event in events_of(state.detail)}), state.shown
    here = state.step
    if state.tab == "log":
        here = step_in_view(state.log, state.held)
    elif shown.cursor is not None:
        steps = [at for at in steps if _cell_of(shown, state, at) != shown.cursor]
    if here is None:
        here = state.row.step + 1
    ahead = [step for step in steps if (step > here if direction > 0 else step < here)]
    if not ahead:
        return False
    step = ahead[0] if direction > 0 else ahead[-1]
    if state.tab == "log":
        opened_at(state.log, step)
    point_at(state, step)
    state.step = step
    return True


def follow_log(state: ViewState) -> None:
    """Put the charts' cursor on the step that the log is read at."""
    step = step_in_view(state.log, state.held)
    if step is not None:
        point_at(state, step)


def pointed_at(state: ViewState, event: PointedLines.Used) -> Shown | None:
    """Return how the charts are looked at after the mouse was used on them; None where it was not on one.

    Pressing chooses the chart, too.
    """
    place = state.chart_under(event.x, event.y)
    if place is None:
        return None
    chart, cell = place
    start = state.chart_under(*event.start) if isinstance(event, PointedLines.Dragged) else None
    is_pressed = isinstance(event, PointedLines.Pointed) and not event.is_dragged
    if is_pressed and state.tab == "metrics" and not state.is_full:
        listed = state.grid.listed(state.metric_keys)
        at = listed.index(state.charted[chart])
        state.grid.point(at, len(listed) - 1, state.room)
    return with_mouse(state.shown, state.axis, event, cell, None if start is None else start[1])
