"""Draws one run turned: a task a row, its interval as a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len

from finetop.core.protocol.check_result import change
from finetop.core.text import clean_line
from finetop.core.wording.triage import standing_words
from finetop.tui.text import cut_end, without_zero
from finetop.tui.theme import MARKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.messages.triage import TaskFacts, TriageRow
    from finetop.tui.line import Line
    from finetop.tui.theme import StyleName

_MARKS = {"lost": MARKS["regressed"], "kept": MARKS["ok"], "open": MARKS["no_verdict"]}
_FULL = 72  # columns from which on scores and flips are shown
_LEAST_BAR = 9


def name_width(width: int) -> int:
    return 16 if width < 100 else 24


def bar_width(width: int) -> int:
    """Say how many cells an interval's bar has."""
    beside = 4 + name_width(width) + 8 + (12 if width >= _FULL else 0) + 12 + 10
    return max(_LEAST_BAR, min(60, width - beside - 3))


def head_line(width: int, low: float, high: float) -> Line:
    """Name the columns, with the ends of the scale over the bars."""
    scores = f"{'base':>6}{'now':>6}" if width >= _FULL else ""
    bar = bar_width(width)
    ends = f"{change(high / 100)}"
    scale = f"{ends}{change(low / 100):>{bar - len(ends)}}" if bar >= len(ends) + 6 else f"{'':<{bar}}"
    return (
        (
            f"    {'task':<{name_width(width)}}{scores}{'change':>8}  {scale}{'lost':>6}{'won':>5}  state",
            "dim",
        ),
    )


def span_of(tasks: Sequence[TaskFacts], margin: float) -> tuple[float, float]:
    """Give the scale that all bars share, in points of drop: from the largest gain to the largest loss, 0 inside."""
    lows = [task.low for task in tasks if task.low is not None]
    highs = [task.high for task in tasks if task.high is not None]
    return min([0.0, *lows]), max([2 * margin, *highs])


def task_line(
    task: TaskFacts, row: TriageRow, width: int, span: tuple[float, float], *, has_cursor: bool
) -> Line:
    """Draw one task, or the whole."""
    mark = _MARKS.get(task.mark)
    seen = row.standings.get(task.task) if task.task else row.standing
    is_settled = any(
        one is not None and one.state in ("accepted", "fixed") for one in (seen, row.standings.get(""))
    )
    style: StyleName = "red" if task.mark == "lost" and not is_settled else ""
    name = cut_end(clean_line(task.task) or "all", name_width(width) - 1)
    line: Line = (
        ("▸", "reverse") if has_cursor else (" ", ""),
        (f" {mark.mark if mark is not None else '-'} ", style),
        (name + " " * (name_width(width) - cell_len(name)), "bold" if has_cursor else ""),
    )
    if task.drop is None:
        reason = clean_line(task.reason).removeprefix(f"{clean_line(task.task)}: ")
        return (*line, (f" {reason or 'not measured'}", "dim"))
    scores = f"{_share(task.base):>6}{_share(task.tuned):>6}" if width >= _FULL else ""
    moved = f"{change(task.drop / 100):>8}"
    state = standing_words(seen) if seen is not None else ""
    return (
        *line,
        (scores, ""),
        (moved, style),
        ("  ", ""),
        *_bar(task, row.margin, bar_width(width), span),
        (f"{task.lost:>6}{task.won:>5}  ", ""),
        (state, "red" if state == "NEW" else "dim"),
    )


def _bar(task: TaskFacts, margin: float, cells: int, span: tuple[float, float]) -> Line:
    """Draw the interval of the change: losses to the left, │ at no change, ┊ at the limit, ● where it stands."""
    low, high = span

    def at(drop: float) -> int:
        return round((high - drop) / (high - low) * (cells - 1))

    bar = [" "] * cells
    if task.low is not None and task.high is not None:
        for cell in range(at(task.high), at(task.low) + 1):
            bar[cell] = "━"
    bar[at(0.0)] = "│"
    if at(margin) != at(0.0):
        bar[at(margin)] = "┊"
    if task.drop is not None:
        bar[min(cells - 1, max(0, at(task.drop)))] = "●"
    return (("".join(bar), ""),)


def _share(value: float | None) -> str:
    return "-" if value is None else without_zero(value, 3)
