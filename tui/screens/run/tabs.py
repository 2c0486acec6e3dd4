"""Draws the open tab of the Run screen from the run's data and the view state."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.protocol.messages.runs import ProcessRow
from finetop.core.protocol.metric_names import SYSTEM
from finetop.core.protocol.runs import RunDetail, SampleRow
from finetop.core.text import clean_line, count
from finetop.core.wording.durations import long_span
from finetop.core.wording.endings import state_word
from finetop.core.wording.metrics import title_of
from finetop.tui.screens.run.charts import Board, board_of, chart_rows
from finetop.tui.screens.run.check import check_lines, no_check_lines
from finetop.tui.screens.run.flips import answer_lines
from finetop.tui.screens.run.log_tab import can_scroll, log_lines
from finetop.tui.screens.run.metrics import metrics_lines
from finetop.tui.screens.run.recipe import recipe_lines
from finetop.tui.screens.run.sample_diff import beside_lines, steps_of
from finetop.tui.screens.run.steps import alarm_lines, lineage_lines, step_lines
from finetop.tui.screens.run.view_state import ViewState
from finetop.tui.text import Line, cut_end, in_view, labelled, paragraph, rule

_PROMPT_ROWS, _ANSWER_ROWS = 3, 4
_LABEL = 10  # cells
_STATES = {"R": "running", "S": "sleeping", "D": "waiting for a device", "T": "stopped", "Z": "ended"}


def body_lines(state: ViewState, *, only_ascii: bool = False) -> tuple[list[Line], str]:
    """Return the open tab, and which part of it is in view if it does not fit."""
    held, detail, (width, height) = state.held, state.detail, state.size
    state.is_longer = False
    match state.tab:
        case "metrics":
            where = state.grid.where(state.metric_keys, state.room)
            return metrics_lines(board_of(state, only_ascii=only_ascii)), where
        case "system":
            return _part(state, system_lines(board_of(state, only_ascii=only_ascii)))
        case "log":
            state.is_longer = can_scroll(state.log, held, width, height - 1)
            return log_lines(state.log, held, width, height), ""
        case "samples" if detail.row.maker.of_others:
            return [(), (("   No samples: another program writes none.", "dim"),)], ""
        case "samples":
            if state.samples == "beside" and len(steps_of(detail.samples)) > 1:
                return _part(state, beside_lines(detail.samples, state.shown_pair, width))
            return _part(state, sample_lines(detail.samples, width, all_steps=state.samples == "all"))
        case "recipe":
            return _part(state, recipe_lines(detail, width, held.data, is_whole=state.is_whole))
        case "check":
            return _check_lines(state)
        case "steps":
            above = alarm_lines(detail, width)
            steps = step_lines(detail, state.step_at)
            at = state.step_at - len(detail.checkpoints)
            below, relative = lineage_lines(detail, at if at >= 0 else None, width, held.data)
            keep = len(above) + (state.step_at + 1 if at < 0 else len(steps) + relative if below else 0)
            return _part(state, [*above, *steps, *below], keep=keep)


def _check_lines(state: ViewState) -> tuple[list[Line], str]:
    held, detail, shown, tasks = state.held, state.detail, state.checked, state.tasks
    if shown is None:
        if not detail.checks:
            return no_check_lines(detail.row), ""
        text = "can't read the result" if held.checks_asked else "loading the result …"
        return [(), ((f"   {text}", "dim"),)], ""
    if state.is_reading and tasks:
        task = tasks[min(state.task_at, len(tasks) - 1)]
        return _part(state, answer_lines(shown.outcome, task, detail.row.name, state.size[0]))
    return check_lines(state, shown), ""


def _part(state: ViewState, lines: list[Line], keep: int | None = None) -> tuple[list[Line], str]:
    state.tops[state.tab], shown, where = in_view(lines, state.tops.get(state.tab, 0), state.size[1], keep)
    state.is_longer = bool(where)
    return shown, where


def sample_lines(samples: Sequence[SampleRow], width: int, *, all_steps: bool) -> list[Line]:
    """Return the samples tab: three answers to each prompt, or all of them in full."""
    if not samples:
        return [(), (("   No samples yet: answers are written at each evaluation.", "dim"),)]
    prompts = sorted({sample.index for sample in samples})
    lines: list[Line] = []
    for at, index in enumerate(prompts):
        prompt_samples = [sample for sample in samples if sample.index == index]
        prompt_samples.sort(key=lambda sample: sample.step)
        lines.append(rule(((f"prompt {at + 1} of {len(prompts)}", ""),), width))
        lines += paragraph(prompt_samples[0].prompt, width, None if all_steps else _PROMPT_ROWS, style="bold")
        for sample in prompt_samples if all_steps else _three(prompt_samples):
            lines += _answer(sample, width, None if all_steps else _ANSWER_ROWS)
    return lines


def _three(samples: list[SampleRow]) -> list[SampleRow]:
    places = sorted({0, len(samples) // 2, len(samples) - 1})
    return [samples[place] for place in places]


def _answer(sample: SampleRow, width: int, rows: int | None) -> list[Line]:
    label = f"step {count(sample.step)}"
    if not sample.text.strip():
        return labelled(label, "(nothing)", width, cells=13, style="dim")
    return labelled(label, sample.text, width, cells=13, rows=rows)


def system_lines(board: Board) -> list[Line]:
    """Return the system tab: charts, what is not measured, the processes and the facts."""
    detail, width = board.state.detail, board.state.size[0]
    lines = chart_rows(board)
    on_cpu = detail.device.startswith("cpu")  # a run on the CPU uses the host's memory
    implied = ("energy_wh", "host_gib") if on_cpu else ("energy_wh",)  # energy is power over time
    expected = [key for key in SYSTEM if key not in implied]
    if missing := [title_of(key) for key in expected if key not in detail.row.metrics]:
        missing_text = f"not available: {', '.join(missing)}{_why(detail)}"
        lines += paragraph(missing_text, width, 2, style="dim")
    lines += processes_lines(board.state.held.processes, width)
    lines.append(rule((("machine", ""),), width))
    for label, text in _facts(detail).items():
        lines += labelled(label, text, width, cells=_LABEL, rows=4) if text else []
    return lines


def _why(detail: RunDetail) -> str:
    if not detail.row.step:
        return " (measured from the first step on)"
    if detail.row.maker.of_others:
        return " (another program's run)"
    if detail.device.startswith("cpu"):
        return " (it runs on the CPU)"
    return "" if detail.device else " (it was made elsewhere)"


def processes_lines(processes: Sequence[ProcessRow], width: int) -> list[Line]:
    """Return a run's processes, the keeper of each job first."""
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
