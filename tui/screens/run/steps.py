"""The steps tab of the Run screen: alarms, checkpoints with their checks, and the tree of related runs."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.features.data_versions.messages import SourceFacts
from finetop.core.protocol.runs import AlarmRow, CheckpointRow, Relative, RunDetail
from finetop.core.text import clean_line, count
from finetop.core.wording.durations import clock
from finetop.core.wording.units import size_word
from finetop.tui.screens.run.data import branches
from finetop.tui.screens.shared.run_status import alarm_words, verdict_words
from finetop.tui.text import Line, Span, cursor_mark, cut_end, cut_middle, rule

SHOWN = 6  # newest alarms shown; `finetop show` lists more
_NAME = 40  # cells


def newest_first(detail: RunDetail) -> list[CheckpointRow]:
    """Return the checkpoints in the tab's order."""
    return sorted(detail.checkpoints, key=lambda checkpoint: -checkpoint.step)


def step_lines(detail: RunDetail, cursor: int) -> list[Line]:
    """Return the table of checkpoints; the first line is its header."""
    if not detail.checkpoints:
        stop = "S stops the run after it has saved one."
        if detail.row.maker.of_others:
            stop = "They are read from its output when it has ended."
        return [(), ((f"   No checkpoint yet. {stop}", "dim"),)]
    checks = {check.step: check for check in reversed(detail.checks)}
    lines: list[Line] = [((f"   {'step':>9}  {'kind':<8} {'size':>9}  {'saved':<6} did it forget?", "dim"),)]
    for at, checkpoint in enumerate(newest_first(detail)):
        check = checks.get(checkpoint.step)
        verdict: Line = (("not checked", "dim"),) if check is None else verdict_words(check)
        facts = f" {clean_line(checkpoint.kind):<8} {size_word(checkpoint.size_bytes):>9}  {clock(checkpoint.at):<6} "
        step: Span = (f"  {count(checkpoint.step):>9} ", "bold" if at == cursor else "")
        is_best = detail.best is not None and detail.best.step == checkpoint.step
        kept: Line = ((", the best", "bold"),) if is_best else ()
        lines.append((cursor_mark(at == cursor), step, (facts, ""), *verdict, *kept))
    return lines


def open_alarm(detail: RunDetail) -> AlarmRow | None:
    """Return the newest alarm that is still open."""
    return next((alarm for alarm in reversed(detail.alarms) if alarm.over_step is None), None)


def alarm_row(alarm: AlarmRow) -> Line:
    """Return an alarm as a row, with its step unless its text names it."""
    text = clean_line(alarm.text)
    at = f", step {count(alarm.step)}" if str(alarm.step) not in text else ""
    return ((" ! ", "amber mark"), *alarm_words(text + at))


def alarm_lines(detail: RunDetail, width: int) -> list[Line]:
    """Return the newest alarms with their steps, newest first, and since when each is over; a blank row follows."""
    if not detail.alarms:
        return []
    hidden = detail.alarms_total - min(SHOWN, len(detail.alarms))
    more: Line = ((f"{count(hidden)} earlier: finetop show", "dim"),) if hidden > 0 else ()
    shown = [_listed(alarm, width) for alarm in detail.alarms[: -SHOWN - 1 : -1]]
    return [rule((("alarms", ""),), width, more), *shown, ()]


def _listed(alarm: AlarmRow, width: int) -> Line:
    over = "" if alarm.over_step is None else f"  over since {count(alarm.over_step)}"
    text = cut_end(clean_line(alarm.text), max(10, width - 14 - len(over)))
    if over:
        return ((f"   {count(alarm.step):>9} ", ""), (f" {text}", ""), (over, "dim"))
    return ((" ! ", "amber mark"), (f"{count(alarm.step):>9}  ", ""), *alarm_words(text))


def relatives(detail: RunDetail) -> list[Relative]:
    """Return the runs that can be opened from the tree, in its order."""
    return [*detail.parents, *detail.children]


def lineage_lines(
    detail: RunDetail, cursor: int | None, width: int, known: Sequence[SourceFacts] = ()
) -> tuple[list[Line], int]:
    """Draw the tree (parents and data above the run, children below; or nothing); return it, and the cursor's row."""
    data = branches(detail, known, width, is_first=not detail.parents)
    if not detail.parents and not detail.children and not data:
        return [], 0
    parents, children = len(detail.parents), len(detail.children)
    lines: list[Line] = [rule((("where it comes from, and what came from it", ""),), width)]
    for at, parent in enumerate(detail.parents):
        lines.append(_row("┌" if not at else "├", parent, has_cursor=cursor == at, is_parent=True))
    lines += data
    name = cut_middle(clean_line(detail.row.name), _NAME)
    above = parents or data
    lines.append(((f"   {'├' if above and children else '└' if above else '┌'} ", "dim"), (name, "bold")))
    row = 0 if cursor is None else 1 + cursor + (len(data) + 1 if cursor >= parents else 0)
    for at, child in enumerate(detail.children, parents):
        branch = "└" if at == parents + children - 1 else "├"
        lines.append(_row(branch, child, has_cursor=cursor == at, is_parent=False))
    return lines, row


def _row(branch: str, relative: Relative, *, has_cursor: bool, is_parent: bool) -> Line:
    indent = "" if is_parent else "─ "
    step = "last step" if relative.step is None else f"step {count(relative.step)}"
    name = cut_middle(clean_line(relative.name), _NAME)
    line: Line = (cursor_mark(has_cursor), (f"  {branch} {indent}", "dim"))
    line = (*line, (name, "bold" if has_cursor else ""))
    return (*line, (f"  {step}, as {clean_line(relative.setting)}", "dim"))
