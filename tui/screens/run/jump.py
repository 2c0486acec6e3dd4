"""Going to a place in a run: the charts' cursor to a step, an alarm, a checkpoint, to where the log is read."""

from __future__ import annotations

from dataclasses import replace

from finetop.core.protocol.runs import RunDetail
from finetop.tui.screens.run.log_tab import opened_at, step_in_view
from finetop.tui.screens.run.marks import events_of
from finetop.tui.screens.run.state import RunData
from finetop.tui.screens.run.view_state import ViewState, chart_under
from finetop.tui.screens.run.x_axis import cell_of
from finetop.tui.screens.run.zoom import Shown, stretch, with_mouse
from finetop.tui.screens.shared.metric_names import metric_keys
from finetop.tui.widgets.pointed_lines import PointedLines
from finetop.tui.widgets.series import View


def point_at(view_state: ViewState, held: RunData, detail: RunDetail, step: int) -> None:
    """Put the charts' cursor on a step; one that is out of view is brought into it."""
    for shown in (view_state.shown, replace(view_state.shown, zoom=None)):
        cell = _cell_of(shown, view_state, held, detail, step)
        if cell is not None:
            view_state.shown = replace(shown, cursor=cell)
            return


def _cell_of(shown: Shown, view_state: ViewState, held: RunData, detail: RunDetail, step: int) -> int | None:
    axis = view_state.axis(held, detail)
    first, last = stretch(shown, axis)
    return cell_of(step, View(first, last, x=shown.x), held.steps, axis.cells)


def to_event(view_state: ViewState, held: RunData, detail: RunDetail, direction: int) -> bool:
    """Go to the next alarm, check or checkpoint (1) or the one before (-1); returns whether there is one.

    On the charts those in the cursor's own column are not gone to: they are named there together.
    """
    steps, shown = sorted({event.step for event in events_of(detail)}), view_state.shown
    here = view_state.step
    if view_state.tab == "log":
        here = step_in_view(view_state.log, held)
    elif shown.cursor is not None:
        steps = [at for at in steps if _cell_of(shown, view_state, held, detail, at) != shown.cursor]
    if here is None:
        here = detail.row.step + 1
    ahead = [step for step in steps if (step > here if direction > 0 else step < here)]
    if not ahead:
        return False
    step = ahead[0] if direction > 0 else ahead[-1]
    if view_state.tab == "log":
        opened_at(view_state.log, step)
    point_at(view_state, held, detail, step)
    view_state.step = step
    return True


def follow_log(view_state: ViewState, held: RunData, detail: RunDetail) -> None:
    """Put the charts' cursor on the step that the log is read at."""
    step = step_in_view(view_state.log, held)
    if step is not None:
        point_at(view_state, held, detail, step)


def pointed_at(
    view_state: ViewState, held: RunData, detail: RunDetail, event: PointedLines.Used
) -> Shown | None:
    """Return how the charts are looked at after the mouse was used on them; None where it was not on one.

    Pressing chooses the chart, too.
    """
    place = chart_under(view_state, detail, event.x, event.y)
    if place is None:
        return None
    chart, cell = place
    start = chart_under(view_state, detail, *event.start) if isinstance(event, PointedLines.Dragged) else None
    is_pressed = isinstance(event, PointedLines.Pointed) and not event.is_dragged
    if is_pressed and view_state.tab == "metrics" and not view_state.is_full:
        listed = view_state.grid.listed(metric_keys(detail.row))
        at = listed.index(view_state.charted(detail.row)[chart])
        view_state.grid.point(at, len(listed) - 1, view_state.room(detail.row))
    axis = view_state.axis(held, detail)
    return with_mouse(view_state.shown, axis, event, cell, None if start is None else start[1])
