"""The table of approaches, one row each: columns of scores and of costs, as many as fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from finetop.core.features.approaches import wording as words
from finetop.core.features.approaches.messages import ApproachesAnswer, ApproachRow, Retained
from finetop.core.text import clean_line
from finetop.core.wording.units import metric_words
from finetop.core.wording.verdicts import SHORT_WORDS
from finetop.tui.text import Line, cursor_mark, cut_end, line_width
from finetop.tui.theme import MARKS, Mark, StyleName

NAME = 15  # cells
START = 4  # cursor and letter
VERDICTS = 18  # cells: 1 NO VERDICT, 2 ok
NARROW = 76  # cells; narrower terminals get fewer score columns
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, its width, and how its cell is drawn."""

    title: str
    cells: int
    draw: Callable[[ApproachRow], Line]
    is_right: bool = True


def columns_of(answer: ApproachesAnswer, width: int, *, of_costs: bool) -> list[Column]:
    """Choose the columns that fit: the requested kind first (scores or costs), then the other."""
    metric = cut_end(metric_words(answer.metric), 20)
    done = [row for row in answer.rows if row.target is not None]

    def plain(title: str, cell: Callable[[ApproachRow], str]) -> Column:
        cells = max([len(title), *(len(cell(row)) for row in done)]) + 1
        return Column(title, cells, lambda row: ((cell(row), ""),))

    scores = [
        plain(metric, lambda row: words.score(row.target)),
        plain("vs best", lambda row: words.cells(row)[3]),
        *([plain("leaked", words.leaked)] if any(row.leaked for row in done) else []),
        plain("retained", lambda row: words.retained(row.retained)[0]),
        Column("forgot?", VERDICTS + 1, _verdicts, is_right=False),
        plain("over seeds", lambda row: words.cells(row)[2]),
    ]
    costs = [
        plain("set-up", lambda row: words.seconds(row.setup_s)),
        plain(words.query_head(answer), lambda row: words.query(row.query)),
        plain("prompt", lambda row: words.prices(row)[3]),
        plain("memory", lambda row: words.prices(row)[4]),
        plain("new facts", lambda row: words.new_facts(row.news)[0]),
        plain("taken in", lambda row: words.new_facts(row.news)[2]),
        plain("GPU", words.gpu),
        plain("rows seen", words.rows_seen),
        plain("epochs", words.epochs),
    ]
    if not any(row.target is not None and row.target.spread is not None for row in done):
        scores.pop()
    if not any(row.gpu_s is not None for row in done):
        costs = [column for column in costs if column.title != "GPU"]
    if width < NARROW:
        scores = [scores[0], Column("retained", 9, _retained_and_mark), scores[1]]
    left = width - START - NAME
    chosen: list[Column] = []
    for column in [*costs, *scores] if of_costs else [*scores, *costs]:
        if column.cells > left:
            break
        chosen.append(column)
        left -= column.cells
    apart = min(2, left // max(1, len(chosen)))
    return [replace(column, cells=column.cells + apart) for column in chosen]


def head_line(columns: Sequence[Column]) -> Line:
    """Return the header row."""
    line = " " * START + f"{'approach':<{NAME}}"
    for column in columns:
        title, cells = column.title, column.cells
        line += f"{title:>{cells}}" if column.is_right else f" {title:<{cells - 1}}"
    return ((line, "dim"),)


def approach_line(
    row: ApproachRow, columns: Sequence[Column], letter: str, *, has_cursor: bool, width: int
) -> Line:
    """Draw one approach; one that is not measured shows its state instead of scores."""
    name = cut_end(clean_line(row.name), NAME - 1)
    style: StyleName = "bold" if has_cursor else ""
    line: Line = (cursor_mark(has_cursor), (f" {letter:<2}", ""), (f"{name:<{NAME}}", style))
    if row.target is None:
        return (*line, *state_words(row, width - START - NAME - 1))
    for column in columns:
        cell = column.draw(row)
        room = column.cells
        if column.is_right:
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
    number = words.retained(row.retained)[0]
    answer = [] if row.retained is None else row.retained.verdicts
    worst = next((key for key in words.WORST_FIRST if key in answer), "")
    return ((number, ""), (f" {MARKS[worst].mark}", _style(worst))) if worst else ((f"{number}  ", ""),)


def _verdicts(row: ApproachRow) -> Line:
    """Count the verdicts, the worst first, so that cutting the text never hides it."""
    answer: Retained | None = row.retained
    if answer is None or answer.same_weights or not answer.verdicts:
        return ((words.retained(answer)[1], "dim"),)
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
