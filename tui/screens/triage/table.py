"""Draws the triage table: runs by tasks with a change and a mark per cell, or one run with a row per task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from finetop.core.features.triage.messages import TaskFacts, TriageAnswer, TriageCell, TriageRow
from finetop.core.features.triage.wording import counts_line, standing_words, state_words, worst_cell
from finetop.core.protocol.standing import Standing
from finetop.core.text import clean_line, count, counted
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import decimals
from finetop.core.wording.verdicts import change
from finetop.tui.screens.triage.state import NAME, TASKS, WHOLE, TriageList
from finetop.tui.text import Line, Span, cursor_mark, cut_end, cut_middle, leaf, padded, spread
from finetop.tui.theme import TASK_MARKS, StyleName

_CELL, _WIDEST = 7, 14  # cells of a column: -22.0✗ and a blank, or a task's full name
_MORE = 5
_VERDICTS = {"regressed": "lost", "ok": "kept", "no_verdict": "open"}
_FULL = 72  # width from which scores and flips are shown
_LEAST_BAR = 9


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns fit: tasks from `first` on, each `cell` cells wide."""

    name: int
    cell: int
    first: int
    shown: int
    hidden: int
    state: int


def columns_of(width: int, tasks: Sequence[str], cursor: int) -> Columns:
    """Fit the columns into a width with the cursor's column in view."""
    name, state = (18, 10) if width < 80 else (22, 10) if width < 120 else (min(44, width // 5 + 4), 18)
    room = width - 4 - name - 1 - state
    cell = _CELL
    if tasks and (len(tasks) + 1) * _CELL <= room:
        longest = max(cell_len(clean_line(task)) for task in tasks) + 2
        cell = min(max(_CELL, longest), _WIDEST, room // (len(tasks) + 1))
        return Columns(name, cell, 0, len(tasks), 0, state)
    shown = max(1, (room - _MORE) // cell - 1)
    at = max(0, cursor - TASKS)
    first = min(max(0, at - shown + 1), max(0, len(tasks) - shown))
    return Columns(name, cell, first, min(shown, len(tasks)), max(0, len(tasks) - shown), state)


def head_lines(columns: Columns, tasks: Sequence[str]) -> list[Line]:
    """Return the header; long task names take two rows."""
    width = columns.cell - 1
    shown = tasks[columns.first : columns.first + columns.shown]
    halves = [_halved(clean_line(task), width) for task in shown]
    above = "".join(f"{first:>{width}} " for first, _ in halves)
    below = "".join(f"{second:>{width}} " for _, second in halves)
    more = f"{f'+{columns.hidden}':>{_MORE - 1}} " if columns.hidden else ""
    whole = f"    {'run, worst first':<{columns.name}}{'all':>{width}} "
    lines: list[Line] = [((f"{whole}{below}{more} state", "dim"),)]
    return [((" " * len(whole) + above, "dim"),), *lines] if above.strip() else lines


def _halved(name: str, width: int) -> tuple[str, str]:
    """Split a name that is too long: after a mark between words, else with a hyphen if it fits."""
    if cell_len(name) <= width:
        return "", name
    at = max((name.rfind(mark, 1, width) + 1 for mark in "_-/. "), default=0)
    if at > 1 and cell_len(name) - at <= width:
        return name[:at], name[at:]
    at = min(width, (len(name) + 1) // 2)
    return name[:at] + "-" * (at < width), cut_end(name[at:], width)


def row_line(held: TriageList, row: TriageRow, columns: Columns, *, has_cursor: bool) -> Line:
    """Draw one run."""
    cursor = held.column if has_cursor else None
    is_settled = _is_settled(row.standing)
    name = cut_middle(clean_line(row.shown_name), columns.name - 1)
    mark = TASK_MARKS[_VERDICTS[row.verdict]]
    line: Line = (
        cursor_mark(has_cursor),
        ("•" if row.id in held.marked else " ", "bold"),
        (f"{mark.mark} ", mark.style if row.verdict == "regressed" and not is_settled else ""),
        (name, "reverse") if cursor == NAME else (name, "" if cursor is None else "bold"),
        (" " * (columns.name - cell_len(name)), ""),
    )
    whole = TriageCell(row.drop, _VERDICTS[row.verdict])
    line = (*line, *_cell(whole, columns.cell, is_cursor=cursor == WHOLE, is_settled=is_settled))
    for at in range(columns.first, columns.first + columns.shown):
        cell = row.cells[at] if at < len(row.cells) else None
        settled = is_settled or _is_settled(row.standings.get(held.tasks[at]))
        line = (*line, *_cell(cell, columns.cell, is_cursor=cursor == TASKS + at, is_settled=settled))
    if columns.hidden:
        out_of_view = [*row.cells[: columns.first], *row.cells[columns.first + columns.shown :]]
        line = (*line, *_more(worst_cell(out_of_view), is_settled=is_settled))
    return (*line, (" ", ""), _state(row))


def _is_settled(standing: Standing | None) -> bool:
    return standing is not None and standing.state in ("accepted", "fixed")


def _cell(cell: TriageCell | None, width: int, *, is_cursor: bool, is_settled: bool) -> tuple[Span, ...]:
    """Draw a change and its mark: red for a proven, unsettled loss, dim for ok."""
    mark = TASK_MARKS.get(cell.mark) if cell is not None else None
    text = "- "
    if cell is not None and mark is not None and cell.drop is not None:
        text = f"{change(cell.drop / 100)}{mark.mark}"
    style: StyleName = "red" if cell is not None and cell.mark == "lost" and not is_settled else ""
    style = "dim" if cell is not None and cell.mark == "kept" else style
    blank = " " * max(0, width - 1 - len(text))
    return ((blank, ""), (text, "reverse" if is_cursor else style), (" ", ""))


def _more(cell: TriageCell | None, *, is_settled: bool) -> tuple[Span, ...]:
    mark = TASK_MARKS.get(cell.mark) if cell is not None else None
    style: StyleName = "red" if cell is not None and cell.mark == "lost" and not is_settled else ""
    return ((f"{mark.mark if mark is not None else '-':>{_MORE - 1}}", style), (" ", ""))


def _state(row: TriageRow) -> Span:
    seen = row.standing
    if seen is not None and seen.state == "new":
        return (standing_words(seen), "red")
    if seen is not None and seen.state == "accepted":
        return ("accepted", "dim")  # by whom and why is in the pane
    return (state_words(row), "" if seen is not None and seen.state == "looking" else "dim")


def name_width(width: int) -> int:
    return 16 if width < 100 else 24


def bar_width(width: int) -> int:
    """Return the width of an interval's bar."""
    beside = 4 + name_width(width) + 8 + (12 if width >= _FULL else 0) + 12 + 10
    return max(_LEAST_BAR, min(60, width - beside - 3))


def run_head_line(width: int, low: float, high: float) -> Line:
    """Return the header, with the ends of the scale over the bars."""
    scores = f"{'base':>6}{'now':>6}" if width >= _FULL else ""
    bar = bar_width(width)
    ends = f"{change(high / 100)}"
    scale = f"{ends}{change(low / 100):>{bar - len(ends)}}" if bar >= len(ends) + 6 else f"{'':<{bar}}"
    name = f"    {'task':<{name_width(width)}}"
    return ((f"{name}{scores}{'change':>8}  {scale}{'lost':>6}{'won':>5}  state", "dim"),)


def span_of(tasks: Sequence[TaskFacts], margin: float) -> tuple[float, float]:
    """Return the scale of all bars, in points of drop: from the largest gain to the largest loss, including 0."""
    lows = [task.low for task in tasks if task.low is not None]
    highs = [task.high for task in tasks if task.high is not None]
    return min([0.0, *lows]), max([2 * margin, *highs])


def task_line(
    task: TaskFacts, row: TriageRow, width: int, span: tuple[float, float], *, has_cursor: bool
) -> Line:
    """Draw one task, or all tasks together."""
    mark = TASK_MARKS.get(task.mark)
    seen = row.standings.get(task.task) if task.task else row.standing
    is_settled = _is_settled(seen) or _is_settled(row.standings.get(""))
    style: StyleName = "red" if task.mark == "lost" and not is_settled else ""
    name = cut_end(clean_line(task.task) or "all", name_width(width) - 1)
    line: Line = (
        cursor_mark(has_cursor),
        (f" {mark.mark if mark is not None else '-'} ", style),
        (padded(name, name_width(width)), "bold" if has_cursor else ""),
    )
    if task.drop is None:
        reason = clean_line(task.reason).removeprefix(f"{clean_line(task.task)}: ")
        return (*line, (f" {reason or 'not measured'}", "dim"))
    scores = f"{decimals(task.base, 3):>6}{decimals(task.tuned, 3):>6}" if width >= _FULL else ""
    moved = f"{change(task.drop / 100):>8}"
    state = standing_words(seen) if seen is not None else ""
    bar = _bar(task, row.margin, bar_width(width), span)
    line = (*line, (scores, ""), (moved, style), ("  ", ""), *bar, (f"{task.lost:>6}{task.won:>5}  ", ""))
    return (*line, (state, "red" if state == "NEW" else "dim"))


def _bar(task: TaskFacts, margin: float, cells: int, span: tuple[float, float]) -> Line:
    """Draw the interval of the change: losses on the left, │ at no change, ┊ at the limit, ● at the estimate."""
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


def state_line(held: TriageList, width: int, now: float, in_view: tuple[int, int]) -> Line:
    """Return how many regressions are new, assigned and settled; on the right the checks' facts or the filter.

    If not all rows are in view, it says which are.
    """
    answer = held.answer
    if answer is None:
        return ((" loading …", "dim"),)
    if not answer.total and not held.filter:
        return ()  # the empty text says it
    counts = counts_line(answer)
    if not answer.new + answer.looking + answer.accepted + answer.fixed and answer.newest:
        counts = f"{counts.rstrip('.')}; {newest_words(answer, now)}"
    left: Line = ((f" {counts}", "red" if answer.new else ""),)
    right, (first, end) = _right(held), in_view
    if first < end and end - first < held.pages.matching:
        right = ((f"{count(first + 1)}-{count(end)} of {count(held.pages.matching)}   ", "bold"), *right)
    return spread(left, (*right, (" ", "")), width)


def _right(held: TriageList) -> Line:
    pages = held.pages
    if held.filter:
        words = cut_middle(clean_line(held.filter), 20)
        return (("/", "key"), (f" {words}: {count(pages.matching)} match", "bold"))
    if pages.newcomers:
        return (("o", "key"), (f" shows {counted(pages.newcomers, 'new check')}", "bold"))
    if pages.reordered:
        return (("o", "key"), (" re-sorts: the order changed", "dim"))
    return ((facts_words(list(held.pages.rows.values())), "dim"),)


def facts_words(rows: list[TriageRow]) -> str:
    """Return what all checks share of suite, limit and base."""
    parts = []
    suites, limits = {row.suite for row in rows}, {row.margin for row in rows}
    bases = {leaf(row.model) for row in rows}
    if len(suites) == 1:
        parts.append(clean_line(*suites) or "?")
    if len(limits) == 1:
        parts.append(f"limit {limits.pop():.1f}")
    if len(bases) == 1:
        parts.append(f"base {cut_middle(bases.pop(), 24)}")
    return ", ".join(parts)


def turned_line(held: TriageList, row: TriageRow, width: int) -> Line:
    """Return the title of a run shown by task: its name, state and place."""
    seen = row.standing
    state = standing_words(seen) if seen is not None else ""
    left: Line = (
        (f" {cut_middle(clean_line(row.shown_name), 34)}", "bold"),
        (f"   {state}" if state else "", "red" if state == "NEW" else ""),
    )
    place = f"{count(held.row_at + 1)} of {count(held.pages.matching)}"
    return spread(left, ((f"{facts_words([row])}   {place} ", "dim"),), width)


def empty_lines(held: TriageList) -> list[Line]:
    """Return the text of an empty table, with the finished runs that have no check."""
    answer = held.answer
    if answer is None:
        return []
    if held.filter and answer.total:
        hidden = f" 0 of {counted(answer.total, 'checked run')} match   {clean_line(held.filter)}"
        return [(), ((hidden, ""),), ((" ", ""), ("esc", "key"), (" clears the filter.", ""))]
    how = " f checks one." if answer.unchecked_total else ""
    lines: list[Line] = [(), ((f" No run has been checked yet.{how}", "bold"),)]
    if not answer.unchecked_total:
        return lines
    more = answer.unchecked_total - len(answer.unchecked)
    names = ",  ".join(cut_middle(clean_line(name), 24) for name in answer.unchecked)
    rest = f" and {count(more)} more" if more > 0 else ""
    noun = "finished run has" if answer.unchecked_total == 1 else "finished runs have"
    number = count(answer.unchecked_total)
    return [*lines, ((f"   {number} {noun} no check:  ", ""), (f"{names}{rest}", "bold"))]


def newest_words(answer: TriageAnswer, now: float) -> str:
    """Return when the last check ended, and of which run."""
    return f"last check {long_span(now - answer.newest_at)} ago ({cut_middle(clean_line(answer.newest), 24)})"
