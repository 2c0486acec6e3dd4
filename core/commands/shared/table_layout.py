"""How a table fits a terminal: words are cut, numbers and names never, and rows fold before they overflow."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

NARROWEST = 8  # fewest cells of a column of words
WRAPS_FROM = 24  # fewest cells in which the last column is wrapped; a shorter one is kept on one line
GAP = 2  # cells between two columns
NAME = 20  # fewest cells of a column of names; a longer name has a line of its own
INDENT = 4  # cells before the second line of a folded row


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns stand on each line of a row, how wide each is, and which are left out."""

    lines: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]  # of every column
    left_out: tuple[int, ...] = ()


def natural(widths: Sequence[int]) -> Layout:
    """Return the layout of a table whose width is unlimited."""
    return Layout((tuple(range(len(widths))),), tuple(widths))


def lay_out(
    widths: Sequence[int],
    heads: Sequence[int],
    room: int,
    *,
    right: Collection[int] = (),
    prose: Collection[int] = (),
    drop: Sequence[int] = (),
    longest_word: int = 0,
) -> Layout:
    """Fit columns of these natural widths into `room` cells.

    Columns in `prose` are cut first, the widest before the others, but not below their heads. Then a name that is
    longer than its column has a line of its own, the columns in `drop` are left out, in this order, and at last the
    rows fold. The last column wraps, between words of which the longest has `longest_word` cells, and no other is
    ever cut.
    """
    last = len(widths) - 1
    whole = (at for at in range(last) if at not in right and at not in prose and widths[at] > NAME)
    name = next(whole, -1)
    least_of_last = max(WRAPS_FROM, min(longest_word, room - INDENT))

    def least(column: int) -> int:
        narrow = {last: least_of_last, name: NAME}.get(
            column, NARROWEST if column in prose else widths[column]
        )
        return min(widths[column], max(narrow, heads[column]))

    for number in range(len(drop) + 1):
        columns = [column for column in range(len(widths)) if column not in drop[:number]]
        if total_width([least(column) for column in columns]) <= room:
            fitted = _fitted(columns, widths, least, room)
            return Layout((tuple(columns),), fitted, tuple(sorted(drop[:number])))
    lines: list[list[int]] = [[]]
    for column in range(len(widths)):
        indent = INDENT * (len(lines) > 1)
        if lines[-1] and indent + total_width([least(each) for each in (*lines[-1], column)]) > room:
            lines.append([])
        lines[-1].append(column)
    fitted = tuple(widths)
    for number, line in enumerate(lines):
        fitted = _fitted(line, fitted, least, room - INDENT * (number > 0))
    return Layout(tuple(map(tuple, lines)), fitted)


def total_width(widths: Sequence[int]) -> int:
    """Return how wide columns are beside each other."""
    return sum(widths) + GAP * (len(widths) - 1)


def _fitted(
    columns: Sequence[int], widths: Sequence[int], least: Callable[[int], int], room: int
) -> tuple[int, ...]:
    """Narrow the widest of the columns that can be narrowed, one cell at a time, until they fit."""
    fitted = list(widths)
    while total_width([fitted[column] for column in columns]) > room:
        widest = max(columns, key=lambda column: (fitted[column] > least(column), fitted[column]))
        if fitted[widest] <= least(widest):
            break
        fitted[widest] -= 1
    return tuple(fitted)


def cut(text: str, width: int) -> str:
    """Cut words to a width, before a word that has a digit: half a number would be read as another."""
    if len(text) <= width:
        return text
    kept = text[: width - 1]
    if not (kept.endswith(" ") or text[len(kept)] == " "):
        start = kept.rfind(" ") + 1
        word = text[start:].partition(" ")[0]
        if any(letter.isdigit() for letter in word):
            kept = kept[:start]
    return f"{kept}…"


def wrapped(text: str, width: int) -> list[str]:
    """Break words into lines; a word that is longer than a line stays whole."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]
