"""A line chart in braille: from curves of min and max per column to lines of text. Pure functions, no state.

A cell is 2 dots wide and 4 high, so a chart asks for two bins a cell (`columns_of`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from finetop.core.protocol.messages.runs import Across, Curve
from finetop.core.text import clean_line
from finetop.tui.text import Line, joined
from finetop.tui.theme import StyleName
from finetop.tui.widgets.axis import LABEL, Scale, share_of, widened, x_labels, y_labels

GUTTER = LABEL + 1  # cells left of the picture, for the labels of the y axis
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_POINT, _ASCII_POINT = "•", "o"
SPIKE = 4.0  # times the usual reach of a bin above or below its mean: such a bin is a spike, and seen

Band = tuple[int, int, int]  # dot column, topmost dot row, bottommost dot row
Cell = tuple[str, "StyleName"]


@dataclass(frozen=True, slots=True)
class Series:
    """One curve of a chart: a line or single points; `end` is a letter behind its last point, `is_strong` is bold."""

    curve: Curve
    is_points: bool = False
    end: str = ""
    is_strong: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """What part of a run is drawn, and how. `cursor` is a cell of the picture, `smoothing` from 0 (none) to 1."""

    first: float
    last: float
    newest: float = 0
    cursor: int | None = None
    smoothing: float = 0.0
    is_log: bool = False
    x: Across = "step"


def plot_width(width: int) -> int:
    """Return the cells of the picture itself."""
    return max(0, width - GUTTER)


def columns_of(width: int) -> int:
    """Return how many bins a chart of that width draws."""
    return 2 * plot_width(width)


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Average each value with those before it, by exponentially falling weights that sum to 1."""
    kept, total, shown = 0.0, 0.0, []
    for value in values:
        kept = weight * kept + (1 - weight) * value
        total = weight * total + (1 - weight)
        shown.append(kept / total)
    return shown


def _values(series: Series, smoothing: float) -> list[float]:
    """Return what the line goes through: the mean of each bin, smoothed if that is wanted."""
    means = series.curve.mean
    return smoothed(means, smoothing) if smoothing and not series.is_points else means


def _spikes(series: Series, smoothing: float) -> list[tuple[int, float, float]]:
    """List what sticks out of the line: column, the bin's mean and its extreme. The usual noise stays out of sight."""
    if smoothing or series.is_points or not series.curve.column:
        return []
    curve = series.curve
    spikes: list[tuple[int, float, float]] = []
    for ends in (curve.high, curve.low):
        reach = [abs(end - mean) for end, mean in zip(ends, curve.mean, strict=True)]
        usual = median(reach)
        bins = zip(curve.column, curve.mean, ends, reach, strict=True)
        spikes += [(column, mean, end) for column, mean, end, far in bins if far > SPIKE * usual]
    return spikes


def _extent(series: Series, smoothing: float) -> list[float]:
    """List the finite values between which the picture lies: all of them, so that noise is not blown up."""
    values = _values(series, smoothing)
    if not (smoothing or series.is_points):
        values = [*series.curve.low, *series.curve.high, *values]
    return [value for value in values if math.isfinite(value)]


def fitted(
    scale: Scale | None, series: Sequence[Series], view: View, limit: float | None = None
) -> Scale | None:
    """Return the y axis for curves: the one so far, widened where they leave it; None while nothing is to be drawn."""
    values = [
        value for line in series for value in _extent(line, view.smoothing) if value > 0 or not view.is_log
    ]
    if not values:
        return scale
    low, high = min(values), max(values)
    if limit is not None and math.isfinite(limit) and (limit > 0 or not view.is_log):
        low, high = min(low, limit), max(high, limit + 0.15 * abs(limit - low))
    return widened(scale, low, high, is_log=view.is_log)


def draw(
    series: Sequence[Series],
    *,
    width: int,
    height: int,
    view: View,
    scale: Scale | None,
    limit: float | None = None,
    marks: Mapping[int, Cell] | None = None,
    only_ascii: bool = False,
) -> list[Line]:
    """Draw curves as `height` lines of at most `width` cells: the picture with its y labels, then the x axis.

    `marks` are what happened at cells of the picture: they stand in its first row, over what else is there.

    A bin without points is a gap in a dense curve; points that are sparser than the columns are joined.
    """
    columns, rows = plot_width(width), height - 1
    if columns < 2 or rows < 1:
        return [()] * max(0, height)
    blank: list[list[Cell]] = [[(" ", "")] * columns for _ in range(rows)]
    axis: Line = ((" " * GUTTER, ""), (x_labels(view.first, view.last, view.newest, columns, view.x), "dim"))
    if scale is None:
        words = "nothing yet"[:columns]
        blank[rows // 2][: len(words)] = [(letter, "dim") for letter in words]
        return [*(((" " * GUTTER, ""), *joined(row)) for row in blank), axis]
    cells = _picture(series, view, scale, columns, rows, only_ascii=only_ascii)
    limit_row = _limit_row(limit, scale, rows)
    if limit_row is not None:
        cells[limit_row] = [("-", "amber") if cell[0] == " " else cell for cell in cells[limit_row]]
    for at, cell in (marks or {}).items():
        if 0 <= at < columns:
            cells[0][at] = cell
    if view.cursor is not None and 0 <= view.cursor < columns:
        for row in cells:
            row[view.cursor] = (
                ("┊", "dim") if row[view.cursor][0] in " -" else (row[view.cursor][0], "reverse")
            )
    low, high = y_labels(scale)
    lines: list[Line] = []
    for y, row in enumerate(cells):
        text = "limit" if y == limit_row else high if y == 0 else low if y == rows - 1 else ""
        style: StyleName = "amber" if y == limit_row else "dim"
        lines.append(((f"{text:>{LABEL}} ", style), *joined(row)))
    return [*lines, axis]


def _picture(
    series: Sequence[Series], view: View, scale: Scale, columns: int, rows: int, *, only_ascii: bool
) -> list[list[Cell]]:
    """Draw lines as dots, then points and end letters over them."""
    dots = [[0] * columns for _ in range(rows)]
    strong: set[tuple[int, int]] = set()
    over: list[tuple[int, int, Cell]] = []
    for line in series:
        bands = _line(line, view, scale, columns, rows)
        if line.is_points:
            mark = _ASCII_POINT if only_ascii else _POINT
            over += [(top // 4, column // 2, (mark, "bold")) for column, top, _ in bands]
        else:
            for column, top, bottom in [*_joined(bands), *_strokes(line, view, scale, columns, rows)]:
                for y in range(top, bottom + 1):
                    dots[y // 4][column // 2] |= _DOTS[column % 2][y % 4]
                    if line.is_strong:
                        strong.add((y // 4, column // 2))
        if line.end and bands and bands[-1][0] // 2 + 1 < columns:
            over.append((bands[-1][1] // 4, bands[-1][0] // 2 + 1, (clean_line(line.end)[:1] or " ", "bold")))
    cells: list[list[Cell]] = [
        [
            (_cell(bits, only_ascii=only_ascii), "bold" if (y, x) in strong else "")
            for x, bits in enumerate(row)
        ]
        for y, row in enumerate(dots)
    ]
    for y, x, cell in over:
        cells[y][x] = cell
    return cells


def _dot_row(value: float, scale: Scale, rows: int) -> int | None:
    share = share_of(scale, value) if math.isfinite(value) else None
    return None if share is None else round((1 - share) * (4 * rows - 1))


def _line(series: Series, view: View, scale: Scale, columns: int, rows: int) -> list[Band]:
    """Return the dots that a curve goes through, one a column."""
    bands: list[Band] = []
    for column, value in zip(series.curve.column, _values(series, view.smoothing), strict=True):
        row = _dot_row(value, scale, rows)
        if row is not None and 0 <= column < 2 * columns:
            bands.append((column, row, row))
    return bands


def _strokes(series: Series, view: View, scale: Scale, columns: int, rows: int) -> list[Band]:
    """Draw each spike as a stroke from the line to its end."""
    bands: list[Band] = []
    for column, mean, end in _spikes(series, view.smoothing):
        start, stop = _dot_row(mean, scale, rows), _dot_row(end, scale, rows)
        if start is not None and stop is not None and 0 <= column < 2 * columns:
            bands.append((column, min(start, stop), max(start, stop)))
    return bands


def _joined(bands: Sequence[Band]) -> list[Band]:
    """Join neighbours to a line. In a dense curve a missing column stays a gap."""
    gaps = [after[0] - before[0] for before, after in pairwise(bands)]
    usual = median(gaps) if gaps else 1
    joined = list(bands)
    for before, after in pairwise(bands):
        if usual > 2 or after[0] - before[0] <= max(2, math.ceil(1.5 * usual)):
            joined += _between(before, after)
    return joined


def _between(before: Band, after: Band) -> list[Band]:
    """Return the dots of a straight line between two bands, from the ends that face each other."""
    (x0, top0, bottom0), (x1, top1, bottom1) = before, after
    if top1 > bottom0:
        y0, y1 = bottom0, top1
    elif top0 > bottom1:
        y0, y1 = top0, bottom1
    else:
        y0 = y1 = max(top0, top1)
    steps = x1 - x0
    heights = [round(y0 + (y1 - y0) * x / steps) for x in range(steps + 1)]
    dots: list[Band] = [(x0 + x, y, y) for x, y in enumerate(heights) if 0 < x < steps]
    for x, (here, there) in enumerate(pairwise(heights)):
        # a jump of several rows: each of the two columns takes its half of it, so that the line has no hole
        middle = (here + there) // 2
        if there > here + 1:
            dots += [(x0 + x, here, middle), (x0 + x + 1, middle + 1, there)]
        elif here > there + 1:
            dots += [(x0 + x, middle + 1, here), (x0 + x + 1, there, middle)]
    return dots


def _cell(bits: int, *, only_ascii: bool) -> str:
    if not bits:
        return " "
    if only_ascii:
        return "." if bits & 0xE4 and not bits & 0x1B else "'" if bits & 0x1B and not bits & 0xE4 else ":"
    return chr(0x2800 + bits)


def _limit_row(limit: float | None, scale: Scale, rows: int) -> int | None:
    if limit is None or not scale.low <= limit <= scale.high:  # nor is NaN between them
        return None
    row = _dot_row(limit, scale, rows)
    return None if row is None else row // 4


def place_at(view: View, cell: int, columns: int) -> float:
    """Return the place on the x axis in the middle of a cell of the picture."""
    return view.first + (cell + 0.5) * (view.last - view.first) / max(1, columns)


def value_at(series: Series, cell: int, smoothing: float = 0.0) -> float | None:
    """Return a curve's value at a cell: the mean of its bins there, else the newest before; None before the first."""
    pairs = list(zip(series.curve.column, _values(series, smoothing), strict=True))
    here = [value for column, value in pairs if column // 2 == cell]
    if here:
        return sum(here) / len(here)
    return next((value for column, value in reversed(pairs) if column // 2 < cell), None)
