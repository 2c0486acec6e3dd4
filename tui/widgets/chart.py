"""A line chart in braille: from curves to lines of text. Pure functions, no state.

A cell is 2 dots wide and 4 high, so a chart needs two bins per cell (`columns_of`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from finetop.core.text import clean_line
from finetop.tui.text import Line, joined
from finetop.tui.theme import SERIES, SERIES_FAINT, StyleName
from finetop.tui.widgets.axis import Scale, share_of
from finetop.tui.widgets.series import Series, View, points_of, spikes_of
from finetop.tui.widgets.ticks import LABEL, x_ticks, y_ticks

GUTTER = LABEL + 1  # cells left of the picture, for the labels of the y axis
_POINT, _ASCII_POINT = "•", "o"
_THICK_FROM = 7  # rows of a picture from which a line is two dots thick
_FEW = 6  # usual dot columns between points from which each point is marked
_MOST_RAW = 2  # lines whose raw values are drawn behind the smoothed ones: those of more drown them
_LETTERS_EVERY = 14  # cells between two letters along a line
GRID: Final = "┈"
_GAPS: Final = (" ", GRID)  # what a label may be drawn over
_AREA: Final = "⢕"
_FAINT: Final[Mapping[StyleName, StyleName]] = dict(zip(SERIES, SERIES_FAINT, strict=True))
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_UPPER, _LOWER = 0x1B, 0xE4  # the dots of a cell's two halves

Band = tuple[int, int, int]  # dot column, topmost dot row, bottommost dot row
Bits = dict[tuple[int, int], int]  # (row, column) of a cell -> its dots
Cell = tuple[str, "StyleName"]
Cells = list[list[Cell]]


def plot_width(width: int) -> int:
    """Return the width of the picture itself, in cells."""
    return max(0, width - GUTTER)


def columns_of(width: int) -> int:
    """Return how many bins a chart of this width draws."""
    return 2 * plot_width(width)


def draw(
    series: Sequence[Series],
    *,
    width: int,
    height: int,
    view: View,
    scale: Scale | None,
    limit: float | None = None,
    marks: Mapping[int, Cell] | None = None,
    ends: int = 0,
    has_letters: bool = False,
    only_ascii: bool = False,
) -> list[Line]:
    """Draw curves as `height` lines of at most `width` cells: the picture with its y labels, then the x axis.

    `marks` are events at cells of the picture: they are drawn in its first row, and keep line ends away. `ends` cells
    right of the picture hold the texts at the lines' ends; without them these are drawn in the picture.

    A bin without points is a gap in a dense curve; points that are sparser than the columns are joined.
    """
    columns, rows = plot_width(width - ends), height - 1
    if columns < 2 or rows < 1:
        return [()] * max(0, height)
    ticks = x_ticks(view.first, view.last, columns, view.x)
    axis: Line = ((f"{ticks.unit:>{LABEL}} ", "dim"), (ticks.text, "dim"))
    cells: Cells = [[(" ", "")] * columns for _ in range(rows)]
    if scale is None:
        is_off = any(line.curve.column for line in series)
        words = ("no value above 0" if is_off else "no data yet")[:columns]
        cells[rows // 2][: len(words)] = [(letter, "dim") for letter in words]
        return [*(((" " * GUTTER, ""), *joined(row)) for row in cells), axis]
    labels: dict[int, str] = {}
    for value, text in y_ticks(scale, rows):
        labels.setdefault(_row(value, scale, rows), text)
    if not only_ascii:
        _draw_grid(cells, labels, ticks.cells)
    heights = _draw_curves(cells, series, view, scale, only_ascii=only_ascii)
    if has_letters:
        _draw_letters(cells, series, heights)
    _draw_limit(cells, limit, scale)
    beside, labelled = _draw_ends(cells, series, heights, ends, marks or {})
    for at, cell in (marks or {}).items():
        if 0 <= at < columns:
            cells[0][at] = cell
    if view.cursor is not None and 0 <= view.cursor < columns:
        for y, row in enumerate(cells):
            text, style = row[view.cursor]
            if (y, view.cursor) not in labelled:  # a label stays readable
                is_free = text in (*_GAPS, "-", _AREA) and style not in SERIES
                row[view.cursor] = ("┊", "dim") if is_free else (text, "reverse")
    gutters = [f"{labels.get(y, ''):>{LABEL}} " for y in range(rows)]
    lines = [((text, "dim"), *joined(cells[y]), *beside.get(y, ())) for y, text in enumerate(gutters)]
    return [*lines, axis]


def _row(value: float, scale: Scale, rows: int) -> int:
    row = _dot_row(value, scale, rows)
    return -1 if row is None else row // 4


def _dot_row(value: float, scale: Scale, rows: int) -> int | None:
    share = share_of(scale, value) if math.isfinite(value) else None
    # means of equal values differ in their last digit: a flat line between two dot rows is in one of them
    return None if share is None else round(round((1 - share) * (4 * rows - 1), 6))


def _draw_grid(cells: Cells, labels: Mapping[int, str], columns: Sequence[int]) -> None:
    for y, row in enumerate(cells):
        if y in labels:
            row[:] = [(GRID, "faint")] * len(row)
        for x in columns:
            row[x] = ("┊", "faint")


def _draw_curves(
    cells: Cells, series: Sequence[Series], view: View, scale: Scale, *, only_ascii: bool
) -> list[list[Band]]:
    """Draw lines as dots, each over the ones before, then points over them; return the dots of each line."""
    rows, columns = len(cells), len(cells[0])
    heights = [_bands(line, view.smoothing, scale, rows, columns) for line in series]
    lines = [(line, bands) for line, bands in zip(series, heights, strict=True) if not line.is_points]
    if view.smoothing and len(lines) <= _MOST_RAW:
        for line, _ in lines:
            raw = _joined(_bands(line, 0, scale, rows, columns))
            _put(cells, _bits_of(raw), _FAINT[line.style], only_ascii=only_ascii)
    for line, _ in lines:
        if line.has_band and not only_ascii:
            _draw_band(cells, line, scale)
    for line, bands in lines:
        dots = _joined(bands)
        if rows >= _THICK_FROM and not only_ascii:
            dots = _thickened(dots, rows)
        bits = _bits_of([*dots, *_strokes(line, view.smoothing, scale, rows, columns)])
        is_alone = len(lines) == 1 and len(bands) > 1 and not (line.has_band or only_ascii)
        if is_alone and scale.low == 0 and not scale.is_log:  # an area must begin at zero
            _draw_area(cells, bits, _FAINT[line.style])
        _put(cells, bits, line.style, only_ascii=only_ascii)
    for line, bands in zip(series, heights, strict=True):
        if line.is_points or _is_sparse(bands):
            mark = _ASCII_POINT if only_ascii else _POINT
            for column, top, _ in bands:
                cells[top // 4][column // 2] = (mark, line.style)
    return heights


def _put(cells: Cells, bits: Bits, style: StyleName, *, only_ascii: bool) -> None:
    for (y, x), dots in bits.items():
        cells[y][x] = (_glyph(dots, only_ascii=only_ascii), style)


def _draw_area(cells: Cells, bits: Bits, style: StyleName) -> None:
    lowest: dict[int, int] = {}
    for y, x in bits:
        lowest[x] = max(y, lowest.get(x, y))
    for x, y in lowest.items():
        for row in cells[y + 1 :]:
            row[x] = (_AREA, style)


def _draw_band(cells: Cells, line: Series, scale: Scale) -> None:
    curve = line.curve
    for column, low, high in zip(curve.column, curve.low, curve.high, strict=True):
        ends = [_dot_row(min(max(end, scale.low), scale.high), scale, len(cells)) for end in (high, low)]
        is_in_view = low <= scale.high and high >= scale.low and 0 <= column < 2 * len(cells[0])
        if is_in_view and ends[0] is not None and ends[1] is not None:
            for row in cells[ends[0] // 4 : ends[1] // 4 + 1]:
                row[column // 2] = (_AREA, _FAINT[line.style])


def _is_sparse(bands: Sequence[Band]) -> bool:
    return bool(bands) and bands[-1][0] - bands[0][0] >= _FEW * (len(bands) - 1)


def _bands(series: Series, smoothing: float, scale: Scale, rows: int, columns: int) -> list[Band]:
    places = [(column, _dot_row(value, scale, rows)) for column, value in points_of(series, smoothing)]
    return [(column, row, row) for column, row in places if row is not None and 0 <= column < 2 * columns]


def _strokes(series: Series, smoothing: float, scale: Scale, rows: int, columns: int) -> list[Band]:
    """Draw each spike as a stroke from the line to its end."""
    bands: list[Band] = []
    for column, mean, end in spikes_of(series, smoothing):
        start, stop = _dot_row(mean, scale, rows), _dot_row(end, scale, rows)
        if start is not None and stop is not None and 0 <= column < 2 * columns:
            bands.append((column, min(start, stop), max(start, stop)))
    return bands


def _draw_letters(cells: Cells, series: Sequence[Series], heights: Sequence[Sequence[Band]]) -> None:
    lettered = [(line, bands) for line, bands in zip(series, heights, strict=True) if line.letter and bands]
    every = max(_LETTERS_EVERY, 3 * len(lettered))
    for number, (line, bands) in enumerate(lettered):
        offset = round((number + 0.5) * every / len(lettered))
        for column, top, _ in bands:
            if column % 2 == 0 and column // 2 % every == offset:
                cells[top // 4][column // 2] = (line.letter, line.style)


def _draw_limit(cells: Cells, limit: float | None, scale: Scale) -> None:
    if limit is None or not scale.low <= limit <= scale.high:  # NaN is not between them either
        return
    row = cells[_row(limit, scale, len(cells))]
    row[:] = [("-", "amber") if cell[0] in (*_GAPS, "┊", _AREA) else cell for cell in row]
    name = " limit "
    for at in range(len(row) - len(name), -1, -1):
        if all(cell[0] == "-" for cell in row[at : at + len(name)]):
            row[at : at + len(name)] = [(letter, "amber") for letter in name]
            return


def _draw_ends(
    cells: Cells,
    series: Sequence[Series],
    heights: Sequence[Sequence[Band]],
    room: int,
    marks: Mapping[int, Cell],
) -> tuple[dict[int, Line], set[tuple[int, int]]]:
    """Write the texts at the lines' ends; return those right of the picture, by row, and the cells of those inside."""
    named = [(bands[-1], line) for line, bands in zip(series, heights, strict=True) if line.end and bands]
    named.sort(key=lambda pair: (pair[0][1], -pair[1].curve.mean[-1]))
    if room:
        rows = rows_of_their_own([top // 4 for (_, top, _), _ in named], len(cells))
        texts = [(f" {clean_line(line.end)}"[:room], line.style) for _, line in named]
        return {y: (text,) for y, text in zip(rows, texts, strict=False)}, set()
    labelled: set[tuple[int, int]] = set()
    least = 0  # the row below the previous label: labels keep the order of the lines
    for (column, top, _), line in named:
        text = clean_line(line.end)
        if (place := _free(cells, top // 4, column // 2 + 1, len(text), marks, least)) is not None:
            y, x = place
            least = y + 1
            cells[y][x : x + len(text)] = [(letter, line.style) for letter in text]
            labelled.update((y, x + at) for at in range(len(text)))
    return {}, labelled


def rows_of_their_own(rows: Sequence[int], height: int) -> list[int]:
    """Place each label on a row of its own, in order, each near the one it wants."""
    placed: list[int] = []
    for row in rows:
        placed.append(max(row, placed[-1] + 1 if placed else 0))
    below = height
    for at in range(len(placed) - 1, -1, -1):
        placed[at] = below = min(placed[at], below - 1)
    return placed


def _free(
    cells: Cells, y: int, x: int, size: int, marks: Mapping[int, Cell], least: int
) -> tuple[int, int] | None:
    """Find room for a text: after a line's end, else above or below it at the picture's edge, next to no mark."""
    columns = len(cells[0])
    at = min(x, columns - size)
    if at < 0:
        return None
    for row in (y, y - 1, y + 1, y - 2, y + 2):
        if not least <= row < len(cells) or (row == 0 and any(at - 1 <= mark <= at + size for mark in marks)):
            continue
        if all(cell[0] in (*_GAPS, "┊", _AREA) for cell in cells[row][at : at + size]):
            return row, at
    return None


def place_at(view: View, cell: int, columns: int) -> float:
    """Return the place on the x axis in the middle of a cell of the picture."""
    return view.first + (cell + 0.5) * (view.last - view.first) / max(1, columns)


# --- dots: a line in braille, which knows nothing of values ----------------------------------------


def _joined(bands: Sequence[Band]) -> list[Band]:
    """Join neighbours to a line. In a dense curve a missing column stays a gap."""
    gaps = [after[0] - before[0] for before, after in pairwise(bands)]
    usual = median(gaps) if gaps else 1
    line = list(bands)
    for before, after in pairwise(bands):
        if usual > 2 or after[0] - before[0] <= max(2, math.ceil(1.5 * usual)):
            line += _between(before, after)
    return line


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
        # a jump of several rows: each of the two columns takes half of it, so that the line has no hole
        middle = (here + there) // 2
        if there > here + 1:
            dots += [(x0 + x, here, middle), (x0 + x + 1, middle + 1, there)]
        elif here > there + 1:
            dots += [(x0 + x, middle + 1, here), (x0 + x + 1, there, middle)]
    return dots


def _thickened(bands: Sequence[Band], rows: int) -> list[Band]:
    """Make a line two dots thick: each of its dots gets one below it, at the bottom one above it."""
    lowest = 4 * rows - 1
    return [(x, top, low + 1) if low < lowest else (x, max(0, top - 1), low) for x, top, low in bands]


def _bits_of(bands: Sequence[Band]) -> Bits:
    bits: Bits = {}
    for column, top, bottom in bands:
        for y in range(top, bottom + 1):
            at = (y // 4, column // 2)
            bits[at] = bits.get(at, 0) | _DOTS[column % 2][y % 4]
    return bits


def _glyph(bits: int, *, only_ascii: bool) -> str:
    if not only_ascii:
        return chr(0x2800 + bits)
    return "." if bits & _LOWER and not bits & _UPPER else "'" if bits & _UPPER and not bits & _LOWER else ":"
