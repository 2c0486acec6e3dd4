"""The open tab of the Run screen in lines: from what is held of the run, and how it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.tui.line import Line
from finetop.tui.screens.run.alarms import alarm_lines
from finetop.tui.screens.run.charts import Board, series_of
from finetop.tui.screens.run.check import check_lines, no_check_lines
from finetop.tui.screens.run.flips import answer_lines
from finetop.tui.screens.run.lineage import lineage_lines
from finetop.tui.screens.run.log_tab import can_scroll, log_lines
from finetop.tui.screens.run.marks import Event, by_cell, events_of
from finetop.tui.screens.run.metric_names import drift_limit
from finetop.tui.screens.run.metrics import metrics_lines
from finetop.tui.screens.run.recipe import recipe_lines
from finetop.tui.screens.run.sample_diff import beside_lines, steps_of
from finetop.tui.screens.run.samples import sample_lines
from finetop.tui.screens.run.steps import step_lines
from finetop.tui.screens.run.system import system_lines
from finetop.tui.screens.run.view_state import checked, pair_of, tasks_of
from finetop.tui.screens.run.x_axis import step_at
from finetop.tui.screens.run.zoom import stretch
from finetop.tui.widgets.chart import View, fitted, plot_width

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finetop.core.protocol.runs import RunDetail
    from finetop.tui.screens.run.state import Held
    from finetop.tui.screens.run.view_state import Looks
    from finetop.tui.widgets.axis import Scale


def body_lines(
    looks: Looks, held: Held, detail: RunDetail, *, only_ascii: bool = False
) -> tuple[list[Line], str]:
    """Write the tab that is open; and what part of it is seen, where it is longer than its room."""
    width, height = looks.size
    looks.is_longer = False
    match looks.tab:
        case "metrics":
            return metrics_lines(board_of(looks, held, detail, only_ascii=only_ascii), width, height), ""
        case "system":
            board = board_of(looks, held, detail, only_ascii=only_ascii)
            return _part(looks, system_lines(board, looks.layout(detail.row), held.processes, width))
        case "log":
            looks.is_longer = can_scroll(looks.log, held, width, height - 1)
            return log_lines(looks.log, held, detail, width, height), ""
        case "samples":
            if looks.samples == "beside" and len(steps_of(detail.samples)) > 1:
                return _part(looks, beside_lines(detail.samples, pair_of(looks, detail), width))
            return _part(looks, sample_lines(detail.samples, width, all_steps=looks.samples == "all"))
        case "recipe":
            return _part(looks, recipe_lines(detail, width, held.data, is_whole=looks.is_whole))
        case "check":
            return _check_lines(looks, held, detail)
        case "steps":
            above = alarm_lines(detail, width)
            steps = step_lines(detail, looks.step_at)
            at = looks.step_at - len(detail.checkpoints)
            below, relative = lineage_lines(detail, at if at >= 0 else None, width, held.data)
            keep = len(above) + (looks.step_at + 1 if at < 0 else len(steps) + relative if below else 0)
            return _part(looks, [*above, *steps, *below], keep=keep)


def board_of(looks: Looks, held: Held, detail: RunDetail, *, only_ascii: bool = False) -> Board:
    """Gather what the metrics tab shows; the y axes only ever widen."""
    shown, row = looks.shown, detail.row
    axis, layout = looks.axis(held, detail), looks.layout(detail.row)
    view = View(
        held.first, held.last, axis.newest, shown.cursor, shown.smoothing, shown.is_log, held.x or "step"
    )
    is_current = (held.x, held.first, held.last) == (shown.x, *stretch(shown, axis))
    charts = looks.charted(row)
    scales: dict[str, Scale] = {}
    for key in charts:
        limit = drift_limit(detail.recipe) if key == "drift" else None
        name = (key, shown.x, shown.zoom, shown.smoothing, shown.is_log)
        scale = fitted(
            looks.scales.get(name) if is_current else None, series_of(key, held.curves), view, limit
        )
        if scale is not None:
            scales[key] = scale
            if is_current:
                looks.scales[name] = scale
    cells = plot_width(layout.chart_width)
    events = by_cell(events_of(detail), view, held.steps, cells)
    return Board(
        detail,
        held.curves,
        scales,
        held.sparks,
        view,
        held.tail,
        charts=charts,
        small=looks.small(row),
        metric=looks.metric(row),
        events=events,
        step=_step_under(view, events, held, cells),
        only_ascii=only_ascii,
    )


def _step_under(view: View, events: Mapping[int, list[Event]], held: Held, cells: int) -> int | None:
    """Name the step under the cursor of the charts: that of what happened there, if anything did."""
    if view.cursor is None:
        return None
    under = events.get(view.cursor)
    return under[0].step if under else step_at(view, held.steps, view.cursor, cells)


def _check_lines(looks: Looks, held: Held, detail: RunDetail) -> tuple[list[Line], str]:
    width, height = looks.size
    one, tasks = checked(looks, held), tasks_of(looks, held)
    if one is None:
        if not detail.checks:
            return no_check_lines(detail.row), ""
        words = "its result can't be read" if held.checks_asked else "asking for the result …"
        return [(), ((f"   {words}", "dim"),)], ""
    if looks.is_reading and tasks:
        task = tasks[min(looks.task_at, len(tasks) - 1)]
        return _part(looks, answer_lines(one.outcome, task, detail.row.name, width))
    lines = check_lines(
        one.outcome,
        detail,
        check_id=one.check_id,
        at=one.at,
        place=(held.checks.index(one) + 1, len(held.checks)),
        cursor=looks.task_at,
        width=width,
        height=height,
    )
    return lines, ""


def _part(looks: Looks, lines: list[Line], keep: int | None = None) -> tuple[list[Line], str]:
    """Cut a long tab to its room, from where it was scrolled to; `keep` is a row that must be in view."""
    height = looks.size[1]
    last = max(0, len(lines) - height)
    top = min(looks.tops.get(looks.tab, 0), last)
    if keep is not None:
        top = min(max(top, keep - height + 1), keep)
    looks.tops[looks.tab], looks.is_longer = top, last > 0
    where = f"{top + 1}-{min(len(lines), top + height)} of {len(lines)}" if last else ""
    return lines[top : top + height], where
