"""The head of the Run screen: its name and model, its state in one row, and the tabs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from finetop.core.protocol.runs import UNKNOWN, Finished, Queued, RunDetail, Running, RunRow
from finetop.core.text import clean_line, count
from finetop.core.wording import jobs, numbers_from
from finetop.core.wording.durations import clock, long_span
from finetop.tui.screens.shared import run_status
from finetop.tui.text import Line, cut_middle, leaf, line_width, spread
from finetop.tui.widgets.bar import share_bar

Tab = Literal["metrics", "log", "samples", "recipe", "check", "steps", "system"]
TABS: tuple[Tab, ...] = ("metrics", "log", "samples", "recipe", "check", "steps", "system")
OF_CHARTS: tuple[Tab, ...] = ("metrics", "system")
SLOW_S = 10.0  # seconds between updates of the time left and the machine's load
_BAR = 30  # cells at most


@dataclass(frozen=True, slots=True)
class Slow:
    """The displayed pace and machine load of a run, and when they were read."""

    at: float
    left_s: float | None
    busy: str


def updated_slow(before: Slow | None, row: RunRow, now: float) -> Slow:
    """Update the time left and the load if the last reading is old enough."""
    if before is not None and now - before.at < SLOW_S and isinstance(row.state, Running):
        return before
    left_s = row.left_s if row.left_s is not None or before is None else before.left_s
    return Slow(now, left_s, _busy(row) if isinstance(row.state, Running) else "")


def _busy(row: RunRow) -> str:
    parts = []
    busy, memory = row.metrics.get("gpu_util"), row.metrics.get("memory_gib")
    if busy is not None:
        parts.append(f"{busy:.0f} % busy")
    if memory is not None:
        parts.append(f"{memory:.0f} GiB" if memory >= 10 else f"{memory:.1f} GiB")
    return "   ".join(parts)


def head_lines(detail: RunDetail, slow: Slow, width: int, now: float) -> list[Line]:
    """Return the two rows of the head."""
    row = detail.row
    mark, name = run_status.mark_of(row), cut_middle(clean_line(row.name), 32)
    left: Line = ((f" {mark.mark} ", mark.style), (name, "bold"), (f"   {method_words(detail)}", ""))
    beside, device = beside_words(row), clean_line(detail.device)
    source = "" if detail.numbers_from is None else numbers_from.brief(detail.numbers_from, row.main_metric)
    all_parts = ([beside, source, device, slow.busy], [beside, source, slow.busy], [beside, source])
    first = left
    for parts in (*all_parts, [beside or source or slow.busy]):  # as many as fit
        if first == left and (right := "   ".join(filter(None, parts))):
            first = spread(left, ((right, "dim"), (" ", "")), width)
    return [first, _state_line(row, slow, width, now)]


def beside_words(row: RunRow) -> str:
    """Return the progress of jobs beside a training; empty once the run has ended, as the row below shows it."""
    if not isinstance(row.state, Running | Queued):
        return ""
    return ", ".join(jobs.job(job.verb, job.state, job.tried) for job in row.side_jobs)


def method_words(detail: RunDetail) -> str:
    """Return the method and model: 'lora r16 on Qwen3-4B'."""
    row = detail.row
    method = detail.recipe.get("method")
    rank = method.get("rank") if isinstance(method, dict) else None
    text = clean_line(row.method) + (f" r{rank}" if isinstance(rank, int) else "")
    if row.objective not in ("", "sft", row.method):
        text += f", {clean_line(row.objective)}"
    return text if row.model == UNKNOWN else f"{text} on {cut_middle(leaf(row.model), 28)}"


def _state_line(row: RunRow, slow: Slow, width: int, now: float) -> Line:
    state = row.state
    if not isinstance(state, Running):
        spans: Line = (("   ", ""), *run_status.state_sentence(row, now)[1:])
        ended, ran = run_status.ended_at(row), run_status.ran_for(row)
        facts = [] if ran is None else [f"ran {long_span(ran)}"]
        if isinstance(state, Finished) and state.cause:
            facts.insert(0, clean_line(state.cause.partition(":")[0]))
        if ended is not None:
            facts.append(f"ended {clock(ended)}" if now - ended < 86400 else f"{long_span(now - ended)} ago")
        return spread(spans, ((", ".join(facts), "dim"), (" ", "")), width)
    if (
        not row.step
        and state.phase == "training"
        and row.maker.of_others
        and not (state.asked or state.pulse)
    ):
        return (("   ", ""), ("running", "cyan"), ("  no numbers yet", ""))
    if not row.step and state.pulse:
        return (("   ", ""), *run_status.stuck_words(state))
    if not row.step:
        start: Line = (("   ", ""), ("starting", "cyan"), (f"  {jobs.phase(state)}", ""))
        left = f"{long_span(state.left_s)} left " if state.left_s is not None else ""
        return spread(start, ((left, ""),), width)
    return _progress_line(row, state, slow, width, now)


def _progress_line(row: RunRow, state: Running, slow: Slow, width: int, now: float) -> Line:
    left: Line = (
        ("   ", ""),
        ("running", "cyan"),
        (f" {'' if row.steps else ' step '}{count(row.step)}", ""),
    )
    right: Line = (*_pace_words(row, state, slow, now), (" ", ""))
    if not row.steps:
        return spread(left, right, width)
    done = min(1.0, row.step / row.steps)
    left = (*left, (f" of {count(row.steps)}  ", ""))
    percent = f"  {done:.0%} ".replace("%", " %")
    room = min(_BAR, width - line_width(left) - line_width(right) - len(percent) - 1)
    if room < 4:
        return spread((*left, (percent.strip(), "")), right, width)
    line: Line = (*left, *share_bar(done, room, "cyan"), (percent, ""))
    return (*line, (" " * (width - line_width(line) - line_width(right)), ""), *right)


def _pace_words(row: RunRow, state: Running, slow: Slow, now: float) -> Line:
    if state.pulse:
        return run_status.stuck_words(state)
    if state.asked:
        return ((jobs.requested_end(row.made_by, state), "bold"),)
    if state.phase not in ("", "training"):
        return ((jobs.phase(state), ""),)
    if slow.left_s is None:
        return ()
    left_s = slow.left_s if slow.left_s >= 60 else max(10.0, round(slow.left_s, -1))
    return ((f"{long_span(left_s)} left", "bold"), (f", ends {clock(slow.at + slow.left_s)}", ""))


def tabs_line(tab: Tab, row: RunRow | None, width: int, where: str = "") -> Line:
    """Return the row of tabs; the check tab carries its mark, `where` is the part of a long tab in view."""
    line = _tabs(tab, row, gap=" ")
    if line_width(line) + (len(where) + 3 if where else 0) > width:
        line = _tabs(tab, row, gap="")
    right: Line = ((f"{where}   " if where else "", ""), ("tab", "key"), (" next ", "dim"))
    if where and line_width(line) + line_width(right) >= width:
        right = ((f"{where} ", ""),)
    return spread(line, right, width)


def _tabs(tab: Tab, row: RunRow | None, gap: str) -> Line:
    line: Line = (("   ", ""),)
    for name in TABS:
        line = (*line, (f" {name} ", "reverse" if name == tab else ""))
        if name == "check" and row is not None and row.check is not None:
            mark = run_status.mark_of_check(row.check)
            line = (*line, (mark.mark, mark.style))
        line = (*line, (gap, ""))
    return line
