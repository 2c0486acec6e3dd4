"""The open tab of the Run screen in lines, from what is held of the run and how it is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from finetop.core.protocol.messages.runs import ProcessRow
from finetop.core.protocol.runs import RunDetail, SampleRow
from finetop.core.text import clean_line, count
from finetop.core.wording.durations import long_span
from finetop.core.wording.endings import state_word
from finetop.tui.screens.run.charts import Board, chart_rows, series_of
from finetop.tui.screens.run.check import check_lines, no_check_lines
from finetop.tui.screens.run.flips import answer_lines
from finetop.tui.screens.run.log_tab import can_scroll, log_lines
from finetop.tui.screens.run.marks import Event, by_cell, events_of
from finetop.tui.screens.run.metrics import metrics_lines
from finetop.tui.screens.run.recipe import recipe_lines
from finetop.tui.screens.run.sample_diff import beside_lines, steps_of
from finetop.tui.screens.run.state import RunData
from finetop.tui.screens.run.steps import alarm_lines, lineage_lines, step_lines
from finetop.tui.screens.run.view_state import ViewState, checked, pair_of, tasks_of
from finetop.tui.screens.run.x_axis import step_at
from finetop.tui.screens.run.zoom import stretch
from finetop.tui.screens.shared.metric_names import SYSTEM, drift_limit, metric_keys, title_of
from finetop.tui.text import Line, cut_end, labelled, paragraph, rule
from finetop.tui.widgets.axis import Scale
from finetop.tui.widgets.chart import columns_of, plot_width
from finetop.tui.widgets.series import View, fitted, in_columns

_PROMPT_ROWS, _ANSWER_ROWS = 3, 4
_LABEL = 10  # cells
_STATES = {"R": "running", "S": "sleeping", "D": "waiting for a device", "T": "stopped", "Z": "ended"}


def body_lines(
    view_state: ViewState, held: RunData, detail: RunDetail, *, only_ascii: bool = False
) -> tuple[list[Line], str]:
    """Write the tab that is open; and what part of it is seen, where it is longer than its room."""
    width, height = view_state.size
    view_state.is_longer = False
    match view_state.tab:
        case "metrics":
            board = board_of(view_state, held, detail, only_ascii=only_ascii)
            where = view_state.grid.where(metric_keys(detail.row), view_state.room(detail.row))
            return metrics_lines(board, width, height, is_full=view_state.is_full), where
        case "system":
            board = board_of(view_state, held, detail, only_ascii=only_ascii)
            return _part(view_state, system_lines(board, held.processes, width))
        case "log":
            view_state.is_longer = can_scroll(view_state.log, held, width, height - 1)
            return log_lines(view_state.log, held, detail, width, height), ""
        case "samples":
            if view_state.samples == "beside" and len(steps_of(detail.samples)) > 1:
                return _part(view_state, beside_lines(detail.samples, pair_of(view_state, detail), width))
            return _part(
                view_state, sample_lines(detail.samples, width, all_steps=view_state.samples == "all")
            )
        case "recipe":
            return _part(view_state, recipe_lines(detail, width, held.data, is_whole=view_state.is_whole))
        case "check":
            return _check_lines(view_state, held, detail)
        case "steps":
            above = alarm_lines(detail, width)
            steps = step_lines(detail, view_state.step_at)
            at = view_state.step_at - len(detail.checkpoints)
            below, relative = lineage_lines(detail, at if at >= 0 else None, width, held.data)
            keep = len(above) + (view_state.step_at + 1 if at < 0 else len(steps) + relative if below else 0)
            return _part(view_state, [*above, *steps, *below], keep=keep)


def board_of(view_state: ViewState, held: RunData, detail: RunDetail, *, only_ascii: bool = False) -> Board:
    """Gather what the metrics tab shows; the y axes only ever widen."""
    shown, row = view_state.shown, detail.row
    axis, layout = view_state.axis(held, detail), view_state.layout(detail.row)
    view = View(held.first, held.last, shown.cursor, shown.smoothing, shown.is_log, held.x or "step")
    is_current = (held.x, held.first, held.last) == (shown.x, *stretch(shown, axis))
    charts = view_state.charted(row)
    columns = columns_of(layout.chart_width)
    curves = {key: in_columns(curve, held.columns, columns) for key, curve in held.curves.items()}
    scales: dict[str, Scale] = {}
    views: dict[str, View] = {}
    for key in charts:
        limit = drift_limit(detail.recipe) if key == "drift" else None
        look = view_state.grid.look(key, shown)
        name = (key, axis.end, look)
        views[key] = replace(view, smoothing=look.smoothing, is_log=look.is_log)
        scale = fitted(
            view_state.scales.get(name) if is_current else None,
            series_of(key, curves),
            views[key],
            limit,
        )
        if scale is not None:
            scales[key] = scale
            if is_current:
                view_state.scales[name] = scale
    cells = plot_width(layout.chart_width)
    events = by_cell(events_of(detail), view, held.steps, cells)
    view_state.step = _step_under(view, events, held, cells)
    return Board(
        detail,
        curves,
        scales,
        held.sparks,
        view,
        views,
        held.tail,
        view_state.near,
        layout,
        charts=charts,
        small=view_state.small(row),
        metric=view_state.metric(row),
        events=events,
        step=view_state.step,
        only_ascii=only_ascii,
    )


def _step_under(view: View, events: Mapping[int, list[Event]], held: RunData, cells: int) -> int | None:
    """Name the step under the cursor of the charts: that of what happened there, if anything did."""
    if view.cursor is None:
        return None
    under = events.get(view.cursor)
    return under[0].step if under else step_at(view, held.steps, view.cursor, cells)


def _check_lines(view_state: ViewState, held: RunData, detail: RunDetail) -> tuple[list[Line], str]:
    width, height = view_state.size
    shown, tasks = checked(view_state, held), tasks_of(view_state, held)
    if shown is None:
        if not detail.checks:
            return no_check_lines(detail.row), ""
        words = "can't read the result" if held.checks_asked else "loading the result …"
        return [(), ((f"   {words}", "dim"),)], ""
    if view_state.is_reading and tasks:
        task = tasks[min(view_state.task_at, len(tasks) - 1)]
        return _part(view_state, answer_lines(shown.outcome, task, detail.row.name, width))
    lines = check_lines(
        shown.outcome,
        detail,
        check_id=shown.check_id,
        at=shown.at,
        place=(held.checks.index(shown) + 1, len(held.checks)),
        cursor=view_state.task_at,
        width=width,
        height=height,
    )
    return lines, ""


def _part(view_state: ViewState, lines: list[Line], keep: int | None = None) -> tuple[list[Line], str]:
    """Cut a long tab to its room, from where it was scrolled to; `keep` is a row that must be in view."""
    height = view_state.size[1]
    last = max(0, len(lines) - height)
    top = min(view_state.tops.get(view_state.tab, 0), last)
    if keep is not None:
        top = min(max(top, keep - height + 1), keep)
    view_state.tops[view_state.tab], view_state.is_longer = top, last > 0
    where = f"{top + 1}-{min(len(lines), top + height)} of {len(lines)}" if last else ""
    return lines[top : top + height], where


def sample_lines(samples: Sequence[SampleRow], width: int, *, all_steps: bool) -> list[Line]:
    """Write the whole tab: per prompt three answers, or all with their whole text."""
    if not samples:
        return [(), (("   No samples yet: answers are written at each evaluation.", "dim"),)]
    prompts = sorted({sample.index for sample in samples})
    lines: list[Line] = []
    for at, index in enumerate(prompts):
        own = sorted((sample for sample in samples if sample.index == index), key=lambda sample: sample.step)
        lines.append(rule(((f"prompt {at + 1} of {len(prompts)}", ""),), width))
        lines += paragraph(own[0].prompt, width, None if all_steps else _PROMPT_ROWS, style="bold")
        for sample in own if all_steps else _three(own):
            lines += _answer(sample, width, None if all_steps else _ANSWER_ROWS)
    return lines


def _three(samples: list[SampleRow]) -> list[SampleRow]:
    """Choose the first, the middle and the last."""
    places = sorted({0, len(samples) // 2, len(samples) - 1})
    return [samples[place] for place in places]


def _answer(sample: SampleRow, width: int, rows: int | None) -> list[Line]:
    label = f"step {count(sample.step)}"
    if not sample.text.strip():
        return labelled(label, "(nothing)", width, cells=13, style="dim")
    return labelled(label, sample.text, width, cells=13, rows=rows)


def system_lines(board: Board, processes: Sequence[ProcessRow], width: int) -> list[Line]:
    """Write the whole tab: charts, what is not measured, the facts, the processes."""
    lines = chart_rows(board, width)
    on_cpu = board.detail.device.startswith("cpu")  # where a run's memory is the host's
    implied = ("energy_wh", "host_gib") if on_cpu else ("energy_wh",)  # energy is power over time
    expected = [key for key in SYSTEM if key not in implied]
    if missing := [title_of(key) for key in expected if key not in board.detail.row.metrics]:
        words = f"not available: {', '.join(missing)}{_why(board.detail)}"
        lines += paragraph(words, width, 2, style="dim")
    lines += processes_lines(processes, width)
    lines.append(rule((("machine", ""),), width))
    for label, text in _facts(board.detail).items():
        lines += labelled(label, text, width, cells=_LABEL, rows=4) if text else []
    return lines


def _why(detail: RunDetail) -> str:
    device = detail.device
    if not detail.row.step:
        return " (measured from the first step on)"
    return (
        " (it runs on the CPU)" if device.startswith("cpu") else "" if device else " (it was made elsewhere)"
    )


def processes_lines(processes: Sequence[ProcessRow], width: int) -> list[Line]:
    """List a run's processes, the keeper of each job first."""
    if not processes:
        return []
    lines: list[Line] = [rule((("processes", ""),), width)]
    lines.append(((f" {'pid':>8}  {'memory':>9} {'cpu time':>11} {'threads':>7}  ", "dim"), ("what", "dim")))
    for process in processes:
        memory = "-" if process.memory_gib is None else f"{process.memory_gib:.2f} GiB"
        threads = "-" if process.threads is None else count(process.threads)
        state = _STATES.get(process.state, process.state)
        facts = f" {process.pid:>8}  {memory:>9} {long_span(process.cpu_s):>11} {threads:>7}  "
        room = max(8, width - len(facts) - len(state) - 4)
        lines.append(((facts, ""), (cut_end(clean_line(process.command), room), ""), (f"  {state}", "dim")))
    return lines


def _facts(detail: RunDetail) -> dict[str, str]:
    facts = {"device": detail.device, "folder": detail.folder}
    if detail.versions:
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in detail.versions.items())
    facts["jobs"] = ", ".join(
        f"{job.id} {job.verb} {state_word(job.state)}"
        + (f" (attempt {job.attempt})" if job.attempt > 1 else "")
        for job in detail.jobs
    )
    unread = [f"job {job.id}: {clean_line(job.unread)}" for job in detail.jobs if job.unread]
    if unread:
        facts["unread"] = " ".join(unread)
    return facts
