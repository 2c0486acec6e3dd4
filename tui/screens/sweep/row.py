"""A row of the Sweep screen: a setting's values, finished runs, results, and whether they forgot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from finetop.core.features.sweeps import seed_groups, selection_curve
from finetop.core.features.sweeps.seed_groups import Setting
from finetop.core.protocol.runs import Failed, Lost, Queued, Running, RunRow
from finetop.core.protocol.tags import CONTROL
from finetop.core.text import clean_line
from finetop.tui.screens.shared.run_status import forgot
from finetop.tui.text import Line, Span, cursor_mark, cut_end, cut_line, cut_middle, line_width
from finetop.tui.theme import MARKS, StyleName

DONE, LOSS, TARGET, RETAINED = 6, 15, 13, 12  # cells of the columns
START = 4  # cursor and letter
ANSWER = 14  # least cells of the answer
ROWS, MEASURE, AGAINST, MARKED = 7, 16, 22, 8  # cells of the columns
WIDE = 100  # cells from which verdicts are counted
AGAINST_WORDS: dict[str, tuple[str, StyleName]] = {
    "worse": ("LOSES", "red"),
    "better": ("better", "green"),
    "open": ("open", "dim"),
}


class Columns(NamedTuple):
    """Which columns fit, and the width of each varied setting's column."""

    values: tuple[int, ...]
    has_loss: bool
    has_target: bool
    loss: str = "loss"  # the title of the loss column


def columns_of(width: int, keys: Sequence[str], settings: Sequence[Setting]) -> Columns:
    """Divide the width: values get what the number columns leave; beside a target the loss needs spare width."""
    metric = seed_groups.metric(run for setting in settings for run in setting.runs)
    has_target = bool(metric) and width >= 66
    has_loss = width >= 84 or not metric
    fixed = START + DONE + RETAINED + ANSWER + LOSS * has_loss + TARGET * has_target + 2
    names = keys or ("run",)
    widths = [
        max([len(short_key(name)), *(len(clean_line(value)) for value in values)])
        for name, values in zip(names, _by_key(names, settings), strict=True)
    ]
    loss = seed_groups.loss_label(run for setting in settings for run in setting.runs)
    return Columns(_shared(width - fixed - 2 * len(names), widths), has_loss, has_target, loss)


def _shared(room: int, widths: Sequence[int]) -> tuple[int, ...]:
    """Assign each column the width it wants, smallest first; the others share the rest, at least six cells each."""
    cells = dict.fromkeys(range(len(widths)), 0)
    for left, at in zip(range(len(widths), 0, -1), sorted(cells, key=lambda at: widths[at]), strict=True):
        cells[at] = min(widths[at], max(6, room // left))
        room -= cells[at]
    return tuple(cells.values())


def _by_key(names: Sequence[str], settings: Sequence[Setting]) -> list[list[str]]:
    return [[values_of(setting)[at] for setting in settings] for at in range(len(names))]


def values_of(setting: Setting) -> tuple[str, ...]:
    """Return the values that name a setting, or the run's name if only the seed varies."""
    return setting.values or (setting.runs[0].name,)


def short_key(key: str) -> str:
    """Return the last part of a setting's key: learning_rate."""
    return clean_line(key).rpartition(".")[2]


def head_line(columns: Columns, keys: Sequence[str]) -> Line:
    """Return the header row."""
    line = " " * START
    for key, cells in zip(keys or ("run",), columns.values, strict=True):
        line += f"{cut_end(short_key(key), cells):<{cells}}  "
    line += f"{'done':>{DONE - 1}} "
    line += f"{columns.loss:>{LOSS - 1}} " if columns.has_loss else ""
    line += f"{'target':>{TARGET - 1}} " if columns.has_target else ""
    return ((f"{line}{'retained':>{RETAINED - 1}}  did it forget?", "dim"),)


def setting_line(
    setting: Setting, columns: Columns, letter: str, *, has_cursor: bool, width: int, now: float
) -> Line:
    """Draw one setting as a row."""
    start: Line = (cursor_mark(has_cursor), (f" {letter:<2}", ""))
    style: StyleName = "bold" if has_cursor else ""
    for value, cells in zip(values_of(setting), columns.values, strict=True):
        start = (*start, (f"{cut_middle(clean_line(value), cells):<{cells}}  ", style))
    runs = setting.runs
    done = f"{setting.finished}/{len(runs)}"
    numbers = f"{done:>{DONE - 1}} "
    if columns.has_loss:
        numbers += f"{seed_groups.spread_text(seed_groups.spread(runs, seed_groups.loss), 3):>{LOSS - 1}} "
    if columns.has_target:
        target = seed_groups.spread_text(seed_groups.spread(runs, seed_groups.target), 2)
        numbers += f"{target:>{TARGET - 1}} "
    retained = seed_groups.spread_text(seed_groups.spread(runs, seed_groups.retained), 1, sign=True)
    numbers += f"{retained:>{RETAINED - 1}}  "
    start = (*start, (numbers, ""))
    return (*start, *cut_line(answer(runs, now), width - line_width(start)))


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


class CurveColumns(NamedTuple):
    """The width of the selector's name, and which columns fit."""

    selector: int
    has_verdicts: bool
    has_retained: bool


def curve_columns_of(width: int, curves: selection_curve.Curves) -> CurveColumns:
    """Divide the width: the selector gets the rest; retained is shown only if it was measured."""
    was_checked = any(cell.retained is not None for cell in curves.cells)
    is_wide = width >= WIDE
    kept = (MARKED + (RETAINED + ANSWER) * is_wide) * was_checked
    room = width - START - ROWS - DONE - MEASURE - AGAINST - kept
    longest = max(len("selector"), *(len(clean_line(cell.by)) for cell in curves.cells))
    return CurveColumns(min(longest, max(6, room)), is_wide, was_checked)


def curve_head_line(columns: CurveColumns) -> Line:
    """Return the header row."""
    line = " " * START + f"{'selector':<{columns.selector}}{'rows':>{ROWS - 1}}{'done':>{DONE - 1}}  "
    line += f"{'target ± 95 %':<{MEASURE}}{'vs random':<{AGAINST}}"
    if columns.has_retained:
        line += f"{'retained':<{RETAINED + MARKED}}did it forget?" if columns.has_verdicts else "retained"
    return ((line, "dim"),)


def cell_line(
    cell: selection_curve.Cell,
    runs: Sequence[RunRow],
    columns: CurveColumns,
    letter: str,
    *,
    has_cursor: bool,
    now: float,
) -> Line:
    """Draw one selector at one number of rows: its target, and the comparison with random rows."""
    number = f"{cell.rows:>{ROWS - 1},}{f'{cell.finished}/{cell.runs}':>{DONE - 1}}  "
    against, colour = AGAINST_WORDS.get(cell.against, ("", ""))
    text = cell.against if cell.against == "same rows" else selection_curve.short(cell.difference, sign=True)
    text = "control" if cell.by == CONTROL else text
    apart = " " * max(0, AGAINST - len(text) - 1 - len(against))
    by = cut_middle(clean_line(cell.by), columns.selector)
    style: StyleName = "bold" if has_cursor else ""
    line: Line = (cursor_mark(has_cursor), (f" {letter:<2}", ""), (f"{by:<{columns.selector}}", style))
    target = f"{number}{selection_curve.short(cell.target):<{MEASURE}}{text} "
    line = (*line, (target, ""), (against, colour))
    if not columns.has_retained:
        return line
    retained = selection_curve.short(cell.retained, sign=True, digits=1)
    if columns.has_verdicts:
        return (*line, (f"{apart}{retained:<{RETAINED + MARKED}}", ""), *answer(runs, now))
    verdicts = [verdict for _, verdict, _ in seed_groups.verdicts(runs)]
    worst = next((MARKS[each] for each in ("regressed", "no_verdict", "ok") if each in verdicts), None)
    mark: Line = () if worst is None else ((f" {worst.mark}", worst.style),)
    return (*line, (f"{apart}{retained.partition(' ')[0]}", ""), *mark)
