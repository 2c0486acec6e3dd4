"""One row of the Sweep screen for rows that were selected: a selector at one number of rows, against random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from finetop.core.client import seed_groups, selection_curve
from finetop.core.preflight.select import CONTROL
from finetop.core.text import clean_line
from finetop.tui.screens.sweep.row import ANSWER, DONE, RETAINED, START, answer
from finetop.tui.text import cut_middle
from finetop.tui.theme import MARKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.runs import RunRow
    from finetop.tui.line import Line
    from finetop.tui.theme import StyleName

ROWS, MEASURE, AGAINST, MARKED = 7, 16, 22, 8  # cells of the columns
WIDE = 100  # cells: from there verdicts are counted
AGAINST_WORDS: dict[str, tuple[str, StyleName]] = {
    "worse": ("LOSES", "red"),
    "better": ("better", "green"),
    "open": ("open", "dim"),
}


class Columns(NamedTuple):
    """How wide the selector's name is, and which columns fit."""

    selector: int
    has_verdicts: bool
    has_retained: bool


def columns_of(width: int, curves: selection_curve.Curves) -> Columns:
    """Divide the width: the selector has what is left; retained where it was measured."""
    was_checked = any(cell.retained is not None for cell in curves.cells)
    is_wide = width >= WIDE
    kept = (MARKED + (RETAINED + ANSWER) * is_wide) * was_checked
    room = width - START - ROWS - DONE - MEASURE - AGAINST - kept
    longest = max(len("rows by"), *(len(clean_line(cell.by)) for cell in curves.cells))
    return Columns(min(longest, max(6, room)), is_wide, was_checked)


def head_line(columns: Columns) -> Line:
    """Name the columns."""
    line = " " * START + f"{'rows by':<{columns.selector}}{'rows':>{ROWS - 1}}{'done':>{DONE - 1}}  "
    line += f"{'target ± 95 %':<{MEASURE}}{'against random':<{AGAINST}}"
    if columns.has_retained:
        line += f"{'retained':<{RETAINED + MARKED}}did it forget?" if columns.has_verdicts else "retained"
    return ((line, "dim"),)


def cell_line(
    cell: selection_curve.Cell,
    runs: Sequence[RunRow],
    columns: Columns,
    letter: str,
    *,
    has_cursor: bool,
    now: float,
) -> Line:
    """Draw one selector at one number of rows: its target, and how it stands against random rows."""
    number = f"{cell.rows:>{ROWS - 1},}{f'{cell.finished}/{cell.runs}':>{DONE - 1}}  "
    against, colour = AGAINST_WORDS.get(cell.against, ("", ""))
    words = cell.against if cell.against == "same rows" else selection_curve.short(cell.difference, sign=True)
    words = "the control" if cell.by == CONTROL else words
    apart = " " * max(0, AGAINST - len(words) - 1 - len(against))
    line: Line = (
        ("▸", "reverse") if has_cursor else (" ", ""),
        (f" {letter:<2}", ""),
        (
            f"{cut_middle(clean_line(cell.by), columns.selector):<{columns.selector}}",
            "bold" if has_cursor else "",
        ),
        (f"{number}{selection_curve.short(cell.target):<{MEASURE}}{words} ", ""),
        (against, colour),
    )
    if not columns.has_retained:
        return line
    retained = selection_curve.short(cell.retained, sign=True, digits=1)
    if columns.has_verdicts:
        return (*line, (f"{apart}{retained:<{RETAINED + MARKED}}", ""), *answer(runs, now))
    verdicts = [verdict for _, verdict, _ in seed_groups.verdicts(runs)]
    worst = next(
        (MARKS[verdict] for verdict in ("regressed", "no_verdict", "ok") if verdict in verdicts), None
    )
    mark: Line = () if worst is None else ((f" {worst.mark}", worst.style),)
    return (*line, (f"{apart}{retained.partition(' ')[0]}", ""), *mark)
