"""A plot of named points: one number to the right, one upwards, a limit as a vertical line. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from finetop.core.wording.units import metric_words
from finetop.tui.text import Line, joined, rule
from finetop.tui.theme import StyleName
from finetop.tui.widgets.chart import GRID, rows_of_their_own

GUTTER = 7  # cells for the labels of the y axis
_EDGE = 0.06  # of the range, left free at each side
_FREE = (" ", "┊")
_APART = 2  # cells between two names in a row


@dataclass(frozen=True, slots=True)
class Spot:
    """One point: x is retained, y is reached. `text` is drawn there, its first cell on the point: `★a`."""

    text: str
    x: float
    y: float
    style: StyleName = ""


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    cells: int

    def cell(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low)
        return min(max(round(share * (self.cells - 1)), 0), self.cells - 1)

    def value(self, cell: int) -> float:
        return self.low + cell / max(1, self.cells - 1) * (self.high - self.low)


def scatter(
    spots: Sequence[Spot],
    *,
    width: int,
    height: int,
    limit: float | None,
    x_words: Callable[[float], str],
    y_words: Callable[[float], str] = "{:.2f}".format,
    lower_is_better: bool = False,
) -> list[Line]:
    """Draw reached against retained in `height` rows, the last one the x axis; better is up and right.

    Every spot has its own row, in the order of their heights, and the row's label is its height. If there are
    more spots than rows, one whose cells are taken goes to the nearest free place around it, on its side of the limit;
    a row that several share is labelled with its own height.
    """
    columns, rows = width - GUTTER - 1, height - 1
    sign = -1.0 if lower_is_better else 1.0
    if not spots or columns < 20 or rows < 2:
        return [()] * max(0, height)
    xs = [spot.x for spot in spots] + ([] if limit is None else [limit])
    across = _axis(min(xs), max(xs), columns)
    ys = [sign * spot.y for spot in spots]
    upwards = _axis(min(ys), max(ys), rows)
    cells: list[list[tuple[str, StyleName]]] = [[(" ", "")] * columns for _ in range(rows)]
    if limit is not None:
        for row in cells:
            row[across.cell(limit)] = ("┊", "amber")
    heights = {id(spot): rows - 1 - upwards.cell(sign * spot.y) for spot in spots}
    if len(spots) <= rows:
        ordered = sorted(spots, key=lambda spot: -sign * spot.y)
        own = rows_of_their_own([heights[id(spot)] for spot in ordered], rows)
        heights = {id(spot): y for spot, y in zip(ordered, own, strict=True)}
    labels: dict[int, set[str]] = {}
    for spot in spots:
        y, size, side = heights[id(spot)], cell_len(spot.text), _side(spot, limit, across)
        x = min(max(across.cell(spot.x), side.start), side.stop - 1)
        if len(spots) <= rows:
            at: tuple[int, int] | None = (min(x, columns - size), y)
        else:
            at = _free(cells, x, y, size, side)
        if at is None:
            continue  # more names than the picture has room for
        labels.setdefault(at[1], set()).add(y_words(spot.y) if at[1] == y else "")
        _put(cells[at[1]], at[0], spot)
    if limit is not None:
        _name_limit(cells, across.cell(limit), x_words(limit))
    lines: list[Line] = []
    for y, row in enumerate(cells):
        words = labels.get(y, set())
        if len(words) > 1:
            words = {y_words(sign * upwards.value(rows - 1 - y))}
        if any(words):  # along a labelled row; across there is no grid, as it would be taken for the limit
            row = [
                (GRID, "faint") if _is_blank(row[max(0, x - 1) : x + 2]) else row[x] for x in range(columns)
            ]
        lines.append(((f"{''.join(words):>{GUTTER}} ", "dim"), *joined(row)))
    return [*lines, _x_axis(across, x_words)]


def _is_blank(cells: Sequence[tuple[str, StyleName]]) -> bool:
    return all(cell == (" ", "") for cell in cells)


def scatter_title(metric: str) -> str:
    """Return the title of the plot."""
    return f"{metric_words(metric) or 'target'} against retained"


def scatter_rule(metric: str, width: int) -> Line:
    """Return the plot's title as a rule that also names the better direction."""
    return rule(((scatter_title(metric), ""),), width, (("better is up and to the right ", "dim"),))


def _axis(low: float, high: float, cells: int) -> _Axis:
    reach = (high - low) or abs(high)
    reach = reach if reach > 1e-300 else 1.0  # a share of less is 0
    return _Axis(low - _EDGE * reach, high + _EDGE * reach, cells)


def _side(spot: Spot, limit: float | None, across: _Axis) -> range:
    if limit is None:
        return range(across.cells)
    at = across.cell(limit)
    if spot.x == limit:
        return range(at, at + 1)
    return range(at + 1, across.cells) if spot.x > limit else range(at)


def _free(
    cells: list[list[tuple[str, StyleName]]], x: int, y: int, size: int, side: range
) -> tuple[int, int] | None:
    """Return the place for `size` cells that is nearest to (x, y): a row counts as four columns."""
    columns = len(cells[0])
    x = min(x, columns - size)
    places = [
        (abs(column - x) + 4 * abs(row - y), column, row)
        for row in range(max(0, y - 2), min(len(cells), y + 3))
        for column in range(columns - size + 1)
        if column in side
        and all(cell[0] in _FREE for cell in cells[row][max(0, column - _APART) : column + size + _APART])
    ]
    if not places:
        return None
    _, column, row = min(places)
    return column, row


def _put(row: list[tuple[str, StyleName]], x: int, spot: Spot) -> None:
    for letter in spot.text:
        row[x] = (letter, spot.style)
        for beside in range(1, cell_len(letter)):
            row[x + beside] = ("", spot.style)
        x += cell_len(letter)


def _name_limit(cells: list[list[tuple[str, StyleName]]], at: int, words: str) -> None:
    """Label the limit's line, in the lowest row that has room left of it, else right of it."""
    text = f"limit {words}"
    for left in (at - len(text) - 1, at + 2):
        for row in reversed(cells):
            around = row[max(0, left - 1) : left + len(text)]
            if left > 0 and len(around) == len(text) + 1 and all(cell[0] == " " for cell in around):
                row[left : left + len(text)] = [(letter, "dim") for letter in text]
                return


def _x_axis(across: _Axis, words: Callable[[float], str]) -> Line:
    low, high = words(across.low), f"{words(across.high)} retained"
    gap = across.cells - len(low) - len(high)
    text = f"{low}{' ' * gap}{high}" if gap > 0 else f"{high:>{across.cells}}"[: across.cells]
    return ((" " * (GUTTER + 1), ""), (text, "dim"))
