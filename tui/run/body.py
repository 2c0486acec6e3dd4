"""The open tab of the Run screen in lines: from what is held of the run, and how it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.text import clean_line
from finetop.tui.run.across import step_at
from finetop.tui.run.alarms import alarm_lines
from finetop.tui.run.check import check_lines, no_check_lines
from finetop.tui.run.flips import answer_lines
from finetop.tui.run.held import log_job
from finetop.tui.run.looking import checked, tasks_of
from finetop.tui.run.marks import by_cell, events_of
from finetop.tui.run.metrics import Board, metrics_lines, series_of
from finetop.tui.run.numbers import drift_limit
from finetop.tui.run.recipe import recipe_lines
from finetop.tui.run.samples import sample_lines
from finetop.tui.run.steps import step_lines
from finetop.tui.run.zoom import stretch
from finetop.tui.widgets import log
from finetop.tui.widgets.chart import View, fitted, plot_width
from finetop.tui.widgets.lines import Line, rule
from finetop.tui.words import count

if TYPE_CHECKING:
    from finetop.core.run import RunDetail
    from finetop.tui.run.held import Held
    from finetop.tui.run.looking import Looks
    from finetop.tui.widgets.axis import Scale


def body_lines(
    looks: Looks, held: Held, detail: RunDetail, *, only_ascii: bool = False
) -> tuple[list[Line], str]:
    """Write the tab that is open; and what part of it is seen, where it is longer than its room."""
    width, height = looks.size
    match looks.tab:
        case "metrics":
            return metrics_lines(board_of(looks, held, detail, only_ascii=only_ascii), width, height), ""
        case "log":
            return _log_lines(looks, held, detail), ""
        case "samples":
            return _part(looks, sample_lines(detail.samples, width, all_steps=looks.all_samples))
        case "recipe":
            return _part(looks, recipe_lines(detail, width))
        case "check":
            return _check_lines(looks, held, detail)
        case "steps":
            above = alarm_lines(detail, width)
            lines = [*above, *step_lines(detail, looks.step_at)]
            return _part(looks, lines, keep=len(above) + looks.step_at + 1)


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
    step = None
    if view.cursor is not None:
        under = events.get(view.cursor)
        step = under[0].step if under else step_at(view, held.steps, view.cursor, cells)
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
        step=step,
        only_ascii=only_ascii,
    )


def _log_lines(looks: Looks, held: Held, detail: RunDetail) -> list[Line]:
    width, height = looks.size
    job = log_job(detail, looks.chosen_job)
    if job is None:
        return [(), (("   No log yet: nothing has run.", "dim"),)]
    first = looks.log_first
    at = f", from line {count(first + 1)}" if first is not None else ", newest last"
    other: Line = (("v", "bold"), (" other job's", "dim")) if len(detail.jobs) > 1 else ()
    title = rule(((f"log of job {job.id}, {clean_line(job.verb)}{at}", ""),), width, other)
    return [title, *log.view(held.tail, width, height - 1, first)]


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
    looks.tops[looks.tab] = top
    where = f"{top + 1}-{min(len(lines), top + height)} of {len(lines)}" if last else ""
    return lines[top : top + height], where
