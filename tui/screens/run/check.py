"""The check tab of the Run screen: the verdict, secondary results, every task, and changed answers."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.features.triage.wording import settled_by
from finetop.core.protocol.check_result import CheckResult, TaskResult
from finetop.core.protocol.messages.limits import ordinal
from finetop.core.protocol.runs import Failed, Lost, Queued, RunDetail, Running, RunRow
from finetop.core.text import clean_line, count
from finetop.core.wording import jobs
from finetop.core.wording.durations import clock, long_span
from finetop.core.wording.units import decimals, metric_words
from finetop.core.wording.verdicts import change, further_lines, interval, verdict_line, word
from finetop.tui.screens.run.flips import flip_rows
from finetop.tui.screens.run.state import Checked
from finetop.tui.screens.run.view_state import ViewState
from finetop.tui.screens.shared.run_status import NOT_CHECKED, mark_of_check
from finetop.tui.text import Line, cursor_mark, cut_end, labelled, line_width, rule, wrapped
from finetop.tui.theme import MARKS, TASK_MARKS

_FLIPS = 3  # least rows for changed answers
_LABEL = 10  # cells


def no_check_lines(row: RunRow) -> list[Line]:
    """Return why there is no result to show."""
    if row.checking is not None:
        return [(), under_way(row.checking)]
    if isinstance(row.state, Queued):
        return [(), (("   It can be checked once it has run.", "dim"),)]
    return [
        (),
        (("   Not checked yet.", "bold"),),
        (("   A check asks the base model and this one the same questions, and compares", ""),),
        (("   answer by answer. It says ok or REGRESSED only when that is proven.", ""),),
    ]


def under_way(checking: Running | Queued) -> Line:
    """Return the progress of a check."""
    if isinstance(checking, Queued):
        place = f"{ordinal(checking.place)} in the queue" if checking.place else clean_line(checking.because)
        return (("   check queued: ", "bold"), (place, ""))
    if checking.asked:
        return ((f"   check {jobs.requested_end('check', checking)}", "bold"),)
    left = f", {long_span(round(checking.left_s, -1))} left" if checking.left_s is not None else ""
    return (("   checking  ", "cyan"), (f"{jobs.phase(checking)}{left}", ""))


def is_shown_above(row: RunRow, check_id: int) -> bool:
    """Return True if the screen's head shows this check's verdict already."""
    is_over = not isinstance(row.state, Running | Queued | Failed | Lost) and row.checking is None
    return is_over and row.check is not None and row.check.check_id == check_id


def check_lines(state: ViewState, check: Checked) -> list[Line]:
    """Write the tab, with the cursor on a task."""
    outcome, row, cursor, (width, height) = check.outcome, state.row, state.task_at, state.size
    top = [_facts(check, state.held.checks, width), *_by_step(state.detail, width)]
    if row.checking is not None:
        top.append(under_way(row.checking))
    if not is_shown_above(row, check.check_id):
        top += _verdict_lines(outcome, row, width)
    elif outcome.verdict == "no_verdict":
        top += _why(outcome, width)
    top += _proof_over_all(outcome, width)
    top += _beside(outcome, width, rows=1 if height < 26 else 2)
    tasks = state.tasks
    if not tasks:
        return top[:height]
    table_rows = min(len(tasks), max(2, height - len(top) - 2 - _FLIPS))
    top = top[: max(2, height - table_rows - 2 - _FLIPS)]
    first = min(max(0, cursor - table_rows + 1), len(tasks) - table_rows)
    hidden = table_rows < len(tasks)
    heading = f"{first + 1}-{first + table_rows} of {len(tasks)} tasks" if hidden else "worst first"
    table = [_head(width, heading)]
    for at, task in enumerate(tasks[first : first + table_rows], first):
        table.append(_task_line(task, outcome.margin, width, has_cursor=at == cursor))
    task = tasks[min(cursor, len(tasks) - 1)]
    rows = height - len(top) - len(table)
    return [*top, *table, *flip_rows(outcome, task, width, rows)][:height]


def _facts(check: Checked, checks: Sequence[Checked], width: int) -> Line:
    """Return the check's suite, step, time and settings, as many as fit; and its place among several."""
    outcome, total = check.outcome, len(checks)
    place = f" earlier: {checks.index(check) + 1} of {total}"
    right: Line = (("v", "key"), (place, "dim")) if total > 1 else ()
    facts = [f"suite {clean_line(outcome.suite) or '?'}"]
    if outcome.step is not None:
        facts.append(f"step {count(outcome.step)}")
    facts.append(clock(check.at))
    if outcome.seconds:
        facts.append(f"took {long_span(outcome.seconds)}")
    if outcome.decided_by:
        facts.append(f"error rate {100 * outcome.alpha:g} %")
    while len(facts) > 1 and len(", ".join(facts)) > width - 6 - line_width(right):
        facts.pop()
    return rule(((", ".join(facts), ""),), width, right)


def _by_step(detail: RunDetail, width: int) -> list[Line]:
    """Return one line with the result at each checked checkpoint, the newest that fit; none for only one."""
    by_step = {check.step: check for check in reversed(detail.checks) if check.step is not None}
    if len(by_step) < 2:
        return []
    pieces: list[Line] = []
    for step in sorted(by_step, reverse=True):
        check = by_step[step]
        mark = mark_of_check(check)
        moved = "" if check.drop is None else f" {change(check.drop / 100)}"
        piece: Line = ((f"  {count(step)} ", ""), (mark.mark, mark.style), (moved, ""))
        if _LABEL + 2 + sum(map(line_width, pieces)) + line_width(piece) > width:
            pieces.append((("  …", "dim"),))
            break
        pieces.append(piece)
    start: Line = ((f"   {'by step':<{_LABEL - 3}}", "dim"),)
    return [start + tuple(span for piece in reversed(pieces) for span in piece)]


def _verdict_lines(outcome: CheckResult, row: RunRow, width: int) -> list[Line]:
    """Return the verdict with its mark; one that was accepted or has a fix assigned is not red."""
    sentence = clean_line(verdict_line(outcome))
    name = word(outcome)
    rest = sentence[len(name) :].strip()
    is_settled = row.check is not None and row.check.is_settled and outcome.verdict == "regressed"
    mark = MARKS["accepted"] if is_settled else MARKS[outcome.verdict]
    if is_settled:
        name = settled_by(row.check) if row.check is not None else name
    name = "ok" + name[2:] if outcome.verdict == "ok" else name
    first, *more = wrapped(rest, width - len(name) - 6, 3)
    indent = " " * (len(name) + 5)
    start: Line = ((f" {mark.mark} ", mark.style), (name, mark.style), (f"  {first}", ""))
    reason = row.check.accepted_for if is_settled and row.check is not None and row.check.accepted else ""
    reasons = wrapped(clean_line(reason), width - 12, 1)
    why: list[Line] = [((f"   reason: {text}", "dim"),) for text in reasons]
    return [start, *(((indent + text, ""),) for text in more), *why]


def _why(outcome: CheckResult, width: int) -> list[Line]:
    """Return the full reason for no verdict if the line above has no room for it."""
    reason = clean_line(outcome.reason)
    if len(word(outcome)) + len(outcome.suite) + len(reason) + 10 <= width:
        return []
    return _labelled("why", reason, width, 3)


def _labelled(label: str, text: str, width: int, rows: int) -> list[Line]:
    return labelled(f"  {label} ", text, width + 1, cells=_LABEL + 1, rows=rows)


def _proof_over_all(outcome: CheckResult, width: int) -> list[Line]:
    """Explain a drop that is proven over all tasks together but on no single task."""
    item_counts = [task.n for task in outcome.tasks if task.n]
    is_on_one = any(task.mark == "lost" for task in outcome.tasks)
    if outcome.verdict != "regressed" or not item_counts or is_on_one:
        return []
    least, most = min(item_counts), max(item_counts)
    per_task = f"{least} to {most}" if least < most else str(least)
    text = f"Proven over all tasks together. Each had {per_task} items: too few to say which of them lost it."
    rest = outcome.items_total - max(outcome.items_used, outcome.items_scored)
    if rest > 0:
        text += f" f checks the remaining {count(rest)}."
    return [((f"   {row}", ""),) for row in wrapped(text, width - 4, 2)]


def _beside(outcome: CheckResult, width: int, rows: int) -> list[Line]:
    lines: list[Line] = []
    for sentence in further_lines(outcome):
        label, _, rest = clean_line(sentence).partition("  ")
        label, rest = (label, rest) if rest and len(label) <= 20 else ("note", sentence)
        label = {"noise floor": "noise"}.get(label, label)
        text = metric_words(rest) if label == "target" else rest
        lines += _labelled(label, text, width, rows)
    return lines


def _name_width(width: int) -> int:
    return min(28, max(8, width - 65))


def _head(width: int, heading: str) -> Line:
    name = f"    {heading:<{_name_width(width)}}"
    if width < 72:
        return ((f"{name[:20]:<20}  change  lost  won", "dim"),)
    scores = f"{'base':>6}{'now':>6}{'change':>8}"
    return ((f"{name}{scores}  {'interval':<16}{'items':>12}{'lost':>5}{'won':>5}", "dim"),)


def _task_line(task: TaskResult, margin: float, width: int, *, has_cursor: bool) -> Line:
    mark = TASK_MARKS.get(task.mark, NOT_CHECKED)
    name_width = _name_width(width) if width >= 72 else 16
    name = f"{cut_end(clean_line(task.task), name_width - 1):<{name_width}}"
    line: Line = (cursor_mark(has_cursor), (f" {mark.mark} ", mark.style))
    line = (*line, (name, "bold" if has_cursor else ""))
    if task.drop is None:
        reason = clean_line(task.reason).removeprefix(f"{clean_line(task.task)}: ")
        return (*line, (f" {reason or 'not measured'}", "dim"))
    moved: Line = ((f"{change(task.drop):>8}", "red" if task.mark == "lost" else ""),)
    flips = f"{task.lost:>5}{task.won:>5}"
    if width < 72:
        return (*line, *moved, (f" {flips}", ""))
    scores = f"{decimals(task.base, 3):>6}{decimals(task.tuned, 3):>6}"
    between = interval(task.interval, margin)
    items = f"{count(task.n)} of {count(task.total)}"
    return (*line, (scores, ""), *moved, (f"  {between:<16}{items:>12}{flips}", ""))
