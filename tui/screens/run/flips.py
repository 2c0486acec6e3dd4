"""The answers that a check found changed: the first few beside the table, or all of a task in full."""

from __future__ import annotations

from finetop.core.protocol.check_result import CheckResult, Flip, TaskResult
from finetop.core.text import clean_line, counted
from finetop.tui.text import Line, cut_end, labelled, padded, paragraph, rule
from finetop.tui.theme import MARKS, StyleName

_KINDS_FROM = 4  # with more rows, the item kinds that lost most are listed
_LABEL = 10  # cells


def flips_of(outcome: CheckResult, task: str) -> list[Flip]:
    """List a task's changed answers, lost ones first."""
    flips = [flip for flip in outcome.flips if flip.task == task]
    return sorted(flips, key=lambda flip: flip.tuned > flip.base)


def flip_rows(outcome: CheckResult, task: TaskResult, width: int, rows: int) -> list[Line]:
    """Return a task's first changed answers under a rule, in `rows` rows."""
    flips = flips_of(outcome, task.task)
    if rows < 2:
        return []
    name = clean_line(task.task)
    title: Line = ((name, "bold"), (f": {task.lost} lost, {task.won} won of {counted(task.n, 'item')}", ""))
    right: Line = (("enter", "key"), (" whole answers", "dim")) if flips else ()
    lines = [rule(title, width, right)]
    kinds = _kinds(outcome, task.task)
    if kinds and rows > _KINDS_FROM:
        lines.append((("   lost by kind: ", "dim"), (kinds, "")))
    if not flips:
        reason = clean_line(task.reason) or "no answer changed."
        return [*lines, ((f"   {reason}", "dim"),)]
    question, gold, answer = _flip_widths(width)
    lines.append(((f"   {'question':<{question}}{'gold':<{gold}}{'base said':<{answer}}tuned said", "dim"),))
    return [*lines, *(_flip_line(flip, question, gold, answer) for flip in flips)][:rows]


def _kinds(outcome: CheckResult, task: str) -> str:
    kinds = [kind for kind in outcome.categories if kind.task == task and kind.category and kind.lost]
    kinds.sort(key=lambda kind: -kind.lost / max(1, kind.n))
    return "   ".join(f"{clean_line(kind.category)} {kind.lost} of {kind.n}" for kind in kinds[:4])


def _flip_widths(width: int) -> tuple[int, int, int]:
    answer = max(10, (width - 3) // 4)
    gold = max(6, (width - 3) // 8)
    return width - 3 - gold - 2 * answer, gold, answer


def _flip_line(flip: Flip, question: int, gold: int, answer: int) -> Line:
    won = flip.tuned > flip.base
    mark = MARKS["ok"] if won else MARKS["regressed"]
    return (
        (f" {mark.mark} ", mark.style),
        (_column(flip.question or flip.item, question), ""),
        (_column(flip.gold, gold), ""),
        (_column(flip.base_answer, answer), ""),
        (cut_end(clean_line(flip.tuned_answer).strip() or "(nothing)", answer), "" if won else "bold"),
    )


def _column(text: str, width: int) -> str:
    text = cut_end(clean_line(text).strip() or "-", width - 2)
    return padded(text, width)


def answer_lines(outcome: CheckResult, task: TaskResult, run: str, width: int) -> list[Line]:
    """Return all changed answers of a task in full."""
    flips = flips_of(outcome, task.task)
    lines: list[Line] = []
    for at, flip in enumerate(flips):
        won = flip.tuned > flip.base
        number = f"{'won' if won else 'lost'} {at + 1} of {len(flips)}"
        title: Line = ((number, "green" if won else "red"), (f"  {clean_line(flip.item)}", ""))
        lines.append(rule(title, width, ((clean_line(flip.category), "dim"),) if flip.category else ()))
        lines += paragraph(flip.question, width, 12)
        for label, answer in (("gold", flip.gold), ("base", flip.base_answer), ("tuned", flip.tuned_answer)):
            if label == "gold" and not answer.strip():
                continue  # scored by a rule, so there is no gold answer
            style: StyleName = "bold" if label == "tuned" and not won else ""
            lines += labelled(label, answer.strip() or "(nothing)", width, cells=_LABEL, rows=8, style=style)
    missing = task.lost + task.won - len(flips)
    if missing > 0:
        command = f"finetop flips {clean_line(run)} --task {clean_line(task.task)}"
        lines.append(((f" {counted(missing, 'more answer')} changed: ", ""), (command, "bold")))
    return lines
