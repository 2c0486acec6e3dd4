"""The pane of the Runs screen: what is known of the run under the cursor, its verdict in words first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core import protocol
from finetop.core.errors import FinetopError
from finetop.core.text import clean_line
from finetop.tui.verdicts import ended_at, hint_of, ran_for, state_sentence
from finetop.tui.widgets.lines import Line, rule
from finetop.tui.words import clock, cut_middle, long_span, points, sparkline, value, without_zero

if TYPE_CHECKING:
    from finetop.core.run import CheckBrief, RunRow
    from finetop.tui.host import Host

SPARK_COLUMNS = 10


def pane_lines(row: RunRow, *, width: int, height: int, now: float, spark: str) -> list[Line]:
    """Write the pane in `height` rows: a rule with the facts, the verdict, and what it rests on."""
    name = cut_middle(clean_line(row.name), 30)
    lines = [rule(((name, "bold"),), width, ((_facts(row, now), "dim"), (" ", "")))]
    lines.append(state_sentence(row, now))
    lines += _details(row, spark)
    return lines[: max(2, height)]


def _facts(row: RunRow, now: float) -> str:
    facts = [clean_line(row.method), cut_middle(clean_line(row.model).rstrip("/").rpartition("/")[2], 24)]
    if row.objective not in ("", "sft"):
        facts.insert(1, clean_line(row.objective))
    ended, ran = ended_at(row), ran_for(row)
    if ran is not None:
        facts.append(long_span(ran))
    if ended is not None:
        facts.append(f"ended {clock(ended)}" if now - ended < 86400 else f"ended {long_span(now - ended)} ago")
    return ", ".join(facts)


def _details(row: RunRow, spark: str) -> list[Line]:
    """List what else there is to say, the most telling first."""
    lines: list[Line] = []
    hint = hint_of(row)
    if hint:
        lines.append(_labelled("mend", hint))
    if row.check is not None and row.check.worst:
        lines.append(_worst(row.check))
    target = _target(row.check) if row.check is not None else ""
    loss = _loss(row, spark)
    if target or loss:
        lines.append(_labelled("target" if target else "loss", "     ".join(filter(None, [target, loss]))))
    if row.alarm and row.check is not None:
        lines.append(_labelled("alarm", clean_line(row.alarm)))
    numbers = _numbers(row)
    if numbers:
        lines.append(_labelled("now" if ended_at(row) is None else "last", numbers))
    if row.note or row.tags:
        lines.append(_labelled("note", clean_line(" ".join([*row.tags, row.note]))))
    return lines


def _labelled(label: str, words: str) -> Line:
    return ((f"   {label:<7}", "dim"), (words, ""))


def _worst(check: CheckBrief) -> Line:
    """Name the tasks with the largest drops; only what is proven lost is red."""
    line: Line = (("   worst  ", "dim"),)
    for task in check.worst[:4]:
        style = "red" if task.mark == "lost" else ""
        line = (*line, (f"{clean_line(task.task)} ", ""), (points(task.drop), style), ("  ", ""))
    others = len(check.worst) - 4
    return (*line, (f"{others} more", "dim")) if others > 0 else line


def _target(check: CheckBrief) -> str:
    """Write what it learned: each metric from the base model to this one."""
    pairs = []
    for metric, (base, tuned) in ((name, pair) for name, pair in check.target.items() if len(pair) == 2):
        label = clean_line(metric).replace("_", " ")
        pairs.append(f"{label} {value(base, 4)} -> {value(tuned, 4)}")
    return "  ".join(pairs[:2])


def _loss(row: RunRow, spark: str) -> str:
    loss = row.metrics.get("loss")
    if loss is None:
        return ""
    return f"loss {spark} {value(loss)}" if spark else f"loss {value(loss)}"


def _numbers(row: RunRow) -> str:
    words = []
    for key, label in (("eval_loss", "eval loss"), ("grad_norm", "grad norm"), ("learning_rate", "rate")):
        if row.metrics.get(key) is not None:
            words.append(f"{label} {value(row.metrics[key])}")
    drift = row.metrics.get("drift")
    if drift is not None:
        words.append(f"drift {without_zero(drift)} nats a token")
    return "   ".join(words)


async def sparkline_of(host: Host, row: RunRow) -> str:
    """Ask for a run's loss and draw it in blocks; nothing where there is none."""
    ask = protocol.Curves(row.name, ["loss"], SPARK_COLUMNS, max(row.step, 1))
    try:
        answer: protocol.CurvesAnswer = await host.ask(ask)
    except FinetopError:
        return ""
    return sparkline(answer.curves[0].mean, SPARK_COLUMNS) if answer.curves else ""
