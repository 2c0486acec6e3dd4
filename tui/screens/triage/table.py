"""Draws the table of triage: runs by tasks, a cell a change and a mark, and what does not fit summed up in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from finetop.core.protocol.check_result import change
from finetop.core.protocol.messages.triage import TriageCell
from finetop.core.text import clean_line
from finetop.core.wording.triage import standing_words, state_words, worst_cell
from finetop.tui.text import cut_end, cut_middle
from finetop.tui.theme import MARKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.messages.triage import Standing, TriageRow
    from finetop.tui.line import Line, Span
    from finetop.tui.theme import StyleName

NAME, WHOLE, TASKS = 0, 1, 2  # columns of the cursor: the name, all, then the tasks
_CELL, _WIDEST = 7, 14  # cells of a column: -22.0✗ and a blank, or a task's whole name
_MORE = 5
_CELL_MARKS = {"lost": MARKS["regressed"], "kept": MARKS["ok"], "open": MARKS["no_verdict"]}
_VERDICTS = {"regressed": "lost", "ok": "kept", "no_verdict": "open"}


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
    """Fit the columns into a width, so that the cursor's is in view."""
    name, state = (18, 10) if width < 80 else (22, 10) if width < 120 else (28, 18)
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


def head_line(columns: Columns, tasks: Sequence[str]) -> Line:
    """Name the columns."""
    line: Line = (
        (f"    {'run, worst first':<{columns.name}}", "dim"),
        (f"{'all':>{columns.cell - 1}} ", "dim"),
    )
    for task in tasks[columns.first : columns.first + columns.shown]:
        name = cut_end(clean_line(task), columns.cell - 2)
        line = (*line, (" " * (columns.cell - 1 - cell_len(name)) + name + " ", "dim"))
    more = f"{f'+{columns.hidden}':>{_MORE - 1}} " if columns.hidden else ""
    return (*line, (f"{more} state", "dim"))


def row_line(
    row: TriageRow, columns: Columns, tasks: Sequence[str], *, cursor: int | None, is_marked: bool = False
) -> Line:
    """Draw one run; `cursor` is the column of the cursor, None on other rows."""
    is_settled = row.standing is not None and row.standing.state in ("accepted", "fixed")
    name = cut_middle(clean_line(row.shown_name), columns.name - 1)
    padded = name + " " * (columns.name - cell_len(name))
    mark = _CELL_MARKS[_VERDICTS[row.verdict]]
    line: Line = (
        (" ", "") if cursor is None else ("▸", "reverse"),
        ("•" if is_marked else " ", "bold"),
        (f"{mark.mark} ", mark.style if row.verdict == "regressed" and not is_settled else ""),
        (name, "reverse") if cursor == NAME else (name, "" if cursor is None else "bold"),
        (padded[len(name) :], ""),
    )
    whole = TriageCell(row.drop, _VERDICTS[row.verdict])
    line = (*line, *_cell(whole, columns.cell, is_cursor=cursor == WHOLE, is_settled=is_settled))
    for at in range(columns.first, columns.first + columns.shown):
        cell = row.cells[at] if at < len(row.cells) else None
        settled = is_settled or _is_settled(row.standings.get(tasks[at]))
        line = (*line, *_cell(cell, columns.cell, is_cursor=cursor == TASKS + at, is_settled=settled))
    if columns.hidden:
        out_of_view = [*row.cells[: columns.first], *row.cells[columns.first + columns.shown :]]
        line = (*line, *_more(worst_cell(out_of_view), is_settled=is_settled))
    return (*line, (" ", ""), _state(row))


def _is_settled(standing: Standing | None) -> bool:
    return standing is not None and standing.state in ("accepted", "fixed")


def _cell(cell: TriageCell | None, width: int, *, is_cursor: bool, is_settled: bool) -> tuple[Span, ...]:
    """Draw a change and its mark; only what is proven lost, and nobody has taken, is red."""
    mark = _CELL_MARKS.get(cell.mark) if cell is not None else None
    text = "-" if cell is None or mark is None or cell.drop is None else change(cell.drop / 100)
    words = f"{text}{mark.mark if mark is not None and cell is not None and cell.drop is not None else ' '}"
    style: StyleName = "red" if cell is not None and cell.mark == "lost" and not is_settled else ""
    return (
        (" " * max(0, width - 1 - len(words)), ""),
        (words, "reverse" if is_cursor else style),
        (" ", ""),
    )


def _more(cell: TriageCell | None, *, is_settled: bool) -> tuple[Span, ...]:
    """Draw the worst mark of the tasks that are out of view."""
    mark = _CELL_MARKS.get(cell.mark) if cell is not None else None
    style: StyleName = "red" if cell is not None and cell.mark == "lost" and not is_settled else ""
    return ((f"{mark.mark if mark is not None else '-':>{_MORE - 1}}", style), (" ", ""))


def _state(row: TriageRow) -> Span:
    seen = row.standing
    if seen is not None and seen.state == "new":
        return (standing_words(seen), "red")
    if seen is not None and seen.state == "accepted":
        return ("accepted", "dim")  # by whom and why is in the pane
    return (state_words(row), "" if seen is not None and seen.state == "looking" else "dim")


def waiting_line(*, has_cursor: bool) -> Line:
    """Draw a row that was asked for and did not come yet."""
    return (("▸" if has_cursor else " ", "reverse" if has_cursor else ""), ("   …", "dim"))
