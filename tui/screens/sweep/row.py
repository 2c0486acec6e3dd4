"""A row of the Sweep screen: a setting's values, finished runs, results, and whether they forgot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from finetop.core.features.sweeps import columns, seed_groups, selection_curve
from finetop.core.features.sweeps.curve_cells import Cell
from finetop.core.features.sweeps.seed_groups import Setting
from finetop.core.protocol.runs import Failed, Lost, Queued, Running, RunRow
from finetop.core.protocol.tags import CONTROL
from finetop.core.text import clean_line
from finetop.core.wording.columns import Column
from finetop.tui.screens.shared.run_status import forgot
from finetop.tui.text import Line, Span, cursor_mark, cut_end, cut_line, cut_middle, line_width
from finetop.tui.theme import MARKS, StyleName

DONE, LOSS, TARGET, RETAINED = 6, 15, 13, 12  # cells of the columns
START = 4  # cursor and letter
ANSWER = 14  # least cells of the answer
ROWS, MEASURE, AGAINST, MARKED = 7, 16, 22, 8  # cells of the columns
WIDE = 100  # cells from which verdicts are counted
Drawn = tuple[Column[Setting], int]  # with its cells
AGAINST_STYLES: dict[str, StyleName] = {"worse": "red", "better": "green", "open": "dim"}


def columns_of(width: int, keys: Sequence[str], settings: Sequence[Setting]) -> list[Drawn]:
    """Divide the width: values get what the number columns leave; beside a target the loss needs spare width."""
    metric = seed_groups.metric(run for setting in settings for run in setting.runs)
    numbers = [(columns.DONE, DONE)]
    numbers += [(columns.loss(settings), LOSS)] if width >= 84 or not metric else []
    numbers += [(columns.TARGET, TARGET)] if metric and width >= 66 else []
    numbers += [(columns.RETAINED, RETAINED)]
    values = columns.values(keys)
    widths = [
        max(len(short_key(column.title)), *(len(clean_line(column.text(setting))) for setting in settings))
        for column in values
    ]
    room = width - START - sum(cells for _, cells in numbers) - ANSWER - 2 - 2 * len(values)
    return [*zip(values, _shared(room, widths), strict=True), *numbers]


def _shared(room: int, widths: Sequence[int]) -> tuple[int, ...]:
    """Assign each column the width it wants, smallest first; the others share the rest, at least six cells each."""
    cells = dict.fromkeys(range(len(widths)), 0)
    for left, at in zip(range(len(widths), 0, -1), sorted(cells, key=lambda at: widths[at]), strict=True):
        cells[at] = min(widths[at], max(6, room // left))
        room -= cells[at]
    return tuple(cells.values())


def short_key(key: str) -> str:
    """Return the last part of a setting's key: learning_rate."""
    return clean_line(key).rpartition(".")[2]


def head_line(drawn: Sequence[Drawn]) -> Line:
    """Return the header row."""
    line = " " * START
    for column, cells in drawn:
        title = column.title if column.is_right else cut_end(short_key(column.title), cells)
        line += f"{title:>{cells - 1}} " if column.is_right else f"{title:<{cells}}  "
    return ((f"{line} {columns.FORGOT.title}", "dim"),)


def setting_line(
    setting: Setting, drawn: Sequence[Drawn], letter: str, *, has_cursor: bool, width: int, now: float
) -> Line:
    """Draw one setting as a row."""
    line: Line = (cursor_mark(has_cursor), (f" {letter:<2}", ""))
    for column, cells in drawn:
        text = column.text(setting)
        if column.is_right:
            line = (*line, (f"{text:>{cells - 1}} ", ""))
        else:
            text = cut_middle(clean_line(text), cells)
            line = (*line, (f"{text:<{cells}}  ", "bold" if has_cursor else ""))
    line = (*line, (" ", ""))
    return (*line, *cut_line(answer(setting.runs, now), width - line_width(line)))


def answer(runs: Sequence[RunRow], now: float) -> Line:
    """Answer "did it forget?" for runs that differ by seed: verdicts first, then failed and running ones."""
    if len(runs) == 1:
        return forgot(runs[0], now)
    parts: list[Span] = [(f"{n} {word}", MARKS[key].style) for n, key, word in seed_groups.verdicts(runs)]
    states: tuple[tuple[tuple[type, ...], str, StyleName], ...] = (
        ((Failed, Lost), "FAILED", "red"),
        ((Running,), "running", "cyan"),
    )
    for kinds, word, style in states:
        if number := sum(isinstance(run.state, kinds) and run.check is None for run in runs):
            parts.append((f"{number} {word}", style))
    line: Line = ()
    for part in parts:
        line = (*line, (", ", ""), part) if line else (part,)
    if line:
        return line
    return (("queued" if any(isinstance(run.state, Queued) for run in runs) else "not checked", "dim"),)


class CurveWidths(NamedTuple):
    """The width of the selector's name, and which columns fit."""

    selector: int
    has_verdicts: bool
    has_retained: bool


def curve_widths_of(width: int, curves: selection_curve.Curves) -> CurveWidths:
    """Divide the width: the selector gets the rest; retained is shown only if it was measured."""
    was_checked = any(cell.retained is not None for cell in curves.cells)
    is_wide = width >= WIDE
    kept = (MARKED + (RETAINED + ANSWER) * is_wide) * was_checked
    room = width - START - ROWS - DONE - MEASURE - AGAINST - kept
    longest = max(len("selector"), *(len(clean_line(cell.by)) for cell in curves.cells))
    return CurveWidths(min(longest, max(6, room)), is_wide, was_checked)


def curve_head_line(widths: CurveWidths) -> Line:
    """Return the header row."""
    line = " " * START + f"{'selector':<{widths.selector}}{'rows':>{ROWS - 1}}{'done':>{DONE - 1}}  "
    line += f"{'target ± 95 %':<{MEASURE}}{'vs random':<{AGAINST}}"
    if widths.has_retained:
        line += f"{'retained':<{RETAINED + MARKED}}did it forget?" if widths.has_verdicts else "retained"
    return ((line, "dim"),)


def cell_line(
    cell: Cell,
    runs: Sequence[RunRow],
    widths: CurveWidths,
    letter: str,
    *,
    has_cursor: bool,
    now: float,
) -> Line:
    """Draw one selector at one number of rows: its target, and the comparison with random rows."""
    number = f"{columns.ROWS.text(cell):>{ROWS - 1}}{columns.CELL_DONE.text(cell):>{DONE - 1}}  "
    text, against = columns.against_words(cell)
    text = "control" if cell.by == CONTROL else text
    apart = " " * max(0, AGAINST - len(text) - 1 - len(against))
    by = cut_middle(clean_line(cell.by), widths.selector)
    style: StyleName = "bold" if has_cursor else ""
    line: Line = (cursor_mark(has_cursor), (f" {letter:<2}", ""), (f"{by:<{widths.selector}}", style))
    target = f"{number}{columns.CELL_TARGET.text(cell):<{MEASURE}}{text} "
    line = (*line, (target, ""), (against, AGAINST_STYLES.get(cell.against, "")))
    if not widths.has_retained:
        return line
    retained = columns.CELL_RETAINED.text(cell)
    if widths.has_verdicts:
        return (*line, (f"{apart}{retained:<{RETAINED + MARKED}}", ""), *answer(runs, now))
    verdicts = [verdict for _, verdict, _ in seed_groups.verdicts(runs)]
    worst = next((MARKS[each] for each in ("regressed", "no_verdict", "ok") if each in verdicts), None)
    mark: Line = () if worst is None else ((f" {worst.mark}", worst.style),)
    return (*line, (f"{apart}{retained.partition(' ')[0]}", ""), *mark)
