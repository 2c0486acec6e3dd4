"""Every task of the check with its interval, worst first."""

from __future__ import annotations

from finetop.core.protocol.check_result import CheckResult, worst_first
from finetop.core.report import Bar, Bars, Block, Table, Tone
from finetop.core.report.load import RunFacts
from finetop.core.report.sections.verdict import TONES
from finetop.core.wording.verdicts import task_cells

TITLE = "Tasks"
_BAR_TONES: dict[str, Tone] = {"lost": "bad", "kept": "good"}


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    return tasks(facts.outcome)


def tasks(outcome: CheckResult | None) -> tuple[Block, ...]:
    if outcome is None or not outcome.tasks:
        return ()
    worst = worst_first(outcome)
    bars = [_bar("all tasks", outcome.drop, outcome.deciding_interval, TONES[outcome.verdict])]
    bars += [_bar(task.task, task.drop, task.interval, _BAR_TONES.get(task.mark, "open")) for task in worst]
    shown = tuple(bar for bar in bars if bar is not None)
    drawn = Bars("Change against the base, points of 100", shown, -100 * outcome.margin)
    head = ("", "task", "base", "tuned", "change", "interval", "lost", "won", "items")
    rows = [(*task_cells(task, outcome.margin)[:-1], f"{task.n:,} of {task.total:,}") for task in worst]
    table = Table(head, tuple(rows), right=(2, 3, 4, 6, 7, 8))
    return (drawn, table) if shown else (table,)


def _bar(name: str, drop: float | None, interval: tuple[float, float] | None, tone: Tone) -> Bar | None:
    if drop is None:
        return None
    low, high = (None, None) if interval is None else (-100 * interval[1], -100 * interval[0])
    return Bar(name, -100 * drop + 0.0, low, high, tone)
