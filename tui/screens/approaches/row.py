"""The table of approaches, one row each: columns of scores and of costs, as many as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from finetop.core.features.approaches import columns, wording as words
from finetop.core.features.approaches.messages import ApproachesAnswer, ApproachRow, Retained
from finetop.core.text import clean_line
from finetop.core.wording.columns import Column, known
from finetop.core.wording.verdicts import SHORT_WORDS
from finetop.tui.text import Line, cursor_mark, cut_end, line_width
from finetop.tui.theme import MARKS, Mark, StyleName

NAME = 15  # cells
START = 4  # cursor and letter
VERDICTS = 18  # cells: 1 NO VERDICT, 2 ok
NARROW = 76  # cells; narrower terminals get fewer score columns
OVER_SEEDS: Final = replace(columns.SEEDS, title="over seeds")  # far from the score that it is of
RETAINED_AND_MARK: Final = replace(columns.RETAINED)  # if there is no room for the verdict's name
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A column on the screen, and its width."""

    column: Column[ApproachRow]
    cells: int


def columns_of(answer: ApproachesAnswer, width: int, *, of_costs: bool) -> list[Drawn]:
    """Choose the columns that fit: the requested kind first (scores or costs), then the other."""
    done = [row for row in answer.rows if row.target is not None]
    target, price = columns.target(answer), columns.price(answer)
    scores = [target, columns.VS_BEST, columns.LEAKED, columns.RETAINED, columns.FORGOT, OVER_SEEDS]
    costs = [columns.SET_UP, price, columns.PROMPT, columns.MEMORY, columns.NEW_FACTS, columns.TAKEN_IN]
    costs += [columns.GPU, columns.ROWS_SEEN, columns.EPOCHS]
    if width < NARROW:
        scores = [target, RETAINED_AND_MARK, columns.VS_BEST]
    left = width - START - NAME
    chosen: list[Drawn] = []
    for column in known([*costs, *scores] if of_costs else [*scores, *costs], done):
        cells = max([len(_title(column)), *(line_width(_cell(column, row)) for row in done)]) + 1
        if column is columns.FORGOT:
            cells = VERDICTS + 1
        if cells > left:
            break
        chosen.append(Drawn(column, cells))
        left -= cells
    apart = min(2, left // max(1, len(chosen)))
    return [Drawn(drawn.column, drawn.cells + apart) for drawn in chosen]


def _title(column: Column[ApproachRow]) -> str:
    return cut_end(column.title, 20)


def _cell(column: Column[ApproachRow], row: ApproachRow) -> Line:
    if column is columns.FORGOT:
        return _verdicts(row)
    return _retained_and_mark(row) if column is RETAINED_AND_MARK else ((column.text(row), ""),)


def head_line(drawn: Sequence[Drawn]) -> Line:
    """Return the header row."""
    line = " " * START + f"{columns.NAME.title:<{NAME}}"
    for each in drawn:
        title, cells = _title(each.column), each.cells
        line += f"{title:>{cells}}" if each.column.is_right else f" {title:<{cells - 1}}"
    return ((line, "dim"),)


def approach_line(
    row: ApproachRow, drawn: Sequence[Drawn], letter: str, *, has_cursor: bool, width: int
) -> Line:
    """Draw one approach; one that is not measured shows its state instead of scores."""
    name = cut_end(clean_line(row.name), NAME - 1)
    style: StyleName = "bold" if has_cursor else ""
    line: Line = (cursor_mark(has_cursor), (f" {letter:<2}", ""), (f"{name:<{NAME}}", style))
    if row.target is None:
        return (*line, *state_words(row, width - START - NAME - 1))
    for each in drawn:
        cell, room = _cell(each.column, row), each.cells
        if each.column.is_right:
            line = (*line, (" " * max(0, room - line_width(cell)), ""), *cell)
        else:
            line = (*line, (" ", ""), *cell, (" " * max(0, room - 1 - line_width(cell)), ""))
    return line


def state_words(row: ApproachRow, room: int) -> Line:
    """Return the state of an unmeasured approach: its phase while under way, the reason if failed or left out."""
    marks = {"under way": MARKS["running"], "failed": MARKS["failed"]}
    mark = marks.get(row.state, Mark("", "", "dim"))
    message = clean_line(row.message)
    text = " ".join(filter(None, (mark.mark, "FAILED" if row.state == "failed" else row.state)))
    return ((f" {cut_end(f'{text}: {message}' if message else text, max(0, room))}", mark.style),)


def _retained_and_mark(row: ApproachRow) -> Line:
    """Return the retained score with the mark of the worst verdict, for when the verdict's name does not fit."""
    number = columns.RETAINED.text(row)
    answer = [] if row.retained is None else row.retained.verdicts
    worst = next((key for key in words.WORST_FIRST if key in answer), "")
    return ((number, ""), (f" {MARKS[worst].mark}", _style(worst))) if worst else ((f"{number}  ", ""),)


def _verdicts(row: ApproachRow) -> Line:
    """Count the verdicts, the worst first, so that cutting the text never hides it."""
    answer: Retained | None = row.retained
    if answer is None or answer.same_weights or not answer.verdicts:
        return ((columns.FORGOT.text(row), "dim"),)
    line: Line = ()
    several = len(answer.verdicts) > 1
    for key in words.WORST_FIRST:
        if number := answer.verdicts.count(key):
            word = SHORT_WORDS[key]
            text = f"{number} {word}" if several else word
            line = (*line, (", ", ""), (text, _style(key))) if line else ((text, _style(key)),)
    return line if line_width(line) <= VERDICTS else line[:1]


def _style(verdict: str) -> StyleName:
    answer: dict[str, StyleName] = {"ok": "green", "regressed": "red", "no_verdict": "amber"}
    return answer[verdict]


def letter_of(answer: ApproachesAnswer, index: int) -> str:
    """Return the letter that marks a measured approach in the table and in the chart."""
    row = answer.rows[index]
    return LETTERS[index % len(LETTERS)] if row.target is not None else ""
