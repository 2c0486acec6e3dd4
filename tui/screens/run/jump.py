"""Going to a place in a run: the charts' cursor to a step, an alarm, a checkpoint, to where the log is read."""

from __future__ import annotations

from dataclasses import replace

from finetop.core.protocol.runs import RunDetail
from finetop.tui.screens.run.log_tab import opened_at, step_in_view
from finetop.tui.screens.run.marks import events_of
from finetop.tui.screens.run.metric_names import metric_keys
from finetop.tui.screens.run.state import RunData
from finetop.tui.screens.run.view_state import ViewState, chart_under
from finetop.tui.screens.run.x_axis import cell_of
from finetop.tui.screens.run.zoom import stretch
from finetop.tui.widgets.series import View


def point_at(view_state: ViewState, held: RunData, detail: RunDetail, step: int) -> None:
    """Put the charts' cursor on a step; one that is out of view is brought into it."""
    axis = view_state.axis(held, detail)
    for shown in (view_state.shown, replace(view_state.shown, zoom=None)):
        first, last = stretch(shown, axis)
        cell = cell_of(step, View(first, last, x=shown.x), held.steps, axis.cells)
        if cell is not None:
            view_state.shown = replace(shown, cursor=cell)
            return


def to_event(view_state: ViewState, held: RunData, detail: RunDetail, direction: int) -> bool:
    """Go to the next alarm, check or checkpoint (1) or the one before (-1); returns whether there is one."""
    log = view_state.log
    here = (
        (step_in_view(log, held) if log.at is not None else None)
        if view_state.tab == "log"
        else view_state.step
    )
    if here is None:
        here = detail.row.step + 1
    steps = sorted({event.step for event in events_of(detail)})
    ahead = [step for step in steps if (step > here if direction > 0 else step < here)]
    if not ahead:
        return False
    step = ahead[0] if direction > 0 else ahead[-1]
    if view_state.tab == "log":
        opened_at(log, step)
    point_at(view_state, held, detail, step)
    view_state.step = step
    return True


def follow_log(view_state: ViewState, held: RunData, detail: RunDetail) -> None:
    """Put the charts' cursor on the step that the log is read at."""
    step = step_in_view(view_state.log, held)
    if step is not None:
        point_at(view_state, held, detail, step)


def choose_under(view_state: ViewState, detail: RunDetail, x: int, y: int) -> None:
    """Put the cursor on the metric whose chart the mouse is over."""
    place = chart_under(view_state, detail, x, y)
    if place is not None and view_state.tab == "metrics" and not view_state.is_full:
        listed = view_state.grid.listed(metric_keys(detail.row))
        at = listed.index(view_state.charted(detail.row)[place[0]])
        view_state.grid.point(at, len(listed) - 1, view_state.room(detail.row))
