"""Draws the effect of a varied number: target and points retained over its values, with spread. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from finetop.core.features.sweeps import seed_groups
from finetop.core.features.sweeps.seed_groups import Setting
from finetop.core.protocol import tags
from finetop.core.protocol.runs import RunRow
from finetop.core.text import clean_line
from finetop.core.wording.units import metric_words
from finetop.tui.screens.sweep.row import short_key
from finetop.tui.screens.sweep.state import SweepData
from finetop.tui.text import Line, cut_end, joined, line_width, rule
from finetop.tui.widgets.axis import Scale
from finetop.tui.widgets.chart import GRID, Cell
from finetop.tui.widgets.scatter import Spot, scatter, scatter_rule
from finetop.tui.widgets.ticks import y_ticks

GUTTER = 9  # cells for the labels of the y axis
TWO_FROM = 72  # least cells for two charts side by side
LOG_FROM = 15.0  # from this ratio of largest to smallest value the x axis is logarithmic
LEAST_HEIGHT = 5
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MOST_BARS = 2  # with more series only the selected one has bars, because they would hide each other
ONE = "o"  # the mark of a single series

Value = Callable[[RunRow], float | None]


@dataclass(frozen=True, slots=True)
class Point:
    """A mean and its spread at one value of the varied number."""

    x: float
    word: str  # as typed: 1e-5
    mean: float
    low: float
    high: float
    letter: str
    is_chosen: bool = False
    beside: int = 0  # offset in cells, so that series at one value do not cover each other


@dataclass(frozen=True, slots=True)
class Axis:
    """Which varied setting is on the x axis, and what distinguishes the series."""

    at: int  # its index in the keys
    series: tuple[tuple[str, ...], ...]  # the values of all other settings, one letter each

    def x(self, setting: Setting) -> float:
        return float(setting.values[self.at])

    def letter(self, setting: Setting) -> str:
        if len(self.series) == 1:
            return ONE
        return LETTERS[self.series.index(self.others(setting)) % len(LETTERS)]

    def others(self, setting: Setting) -> tuple[str, ...]:
        return setting.values[: self.at] + setting.values[self.at + 1 :]


def axis_of(settings: Sequence[Setting], keys: Sequence[str]) -> Axis | None:
    """Return the axis of the number with the most values; None if no varied setting is a number."""
    best: tuple[int, int] | None = None
    for at in range(len(keys)):
        numbers = {number(setting.values[at]) for setting in settings}
        if None not in numbers and len(numbers) > 1 and (best is None or len(numbers) > best[0]):
            best = (len(numbers), at)
    if best is None:
        return None
    at = best[1]
    others = dict.fromkeys(setting.values[:at] + setting.values[at + 1 :] for setting in settings)
    return Axis(at, tuple(others))


def number(text: str) -> float | None:
    """Parse a finite number; None for any other text."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def letters(held: SweepData) -> list[str]:
    """Return the letter of each setting in the chart; empty for a single series."""
    axis = axis_of(held.settings, held.keys)
    if axis is None:
        return [LETTERS[at % len(LETTERS)] for at in range(len(held.settings))]
    return [axis.letter(setting) if len(axis.series) > 1 else "" for setting in held.settings]


def picture_lines(held: SweepData, chosen: Setting | None, *, width: int, height: int) -> list[Line]:
    """Draw in `height` rows, including the rule: over the varied number, else target against retained."""
    if height < LEAST_HEIGHT:
        return []
    axis = axis_of(held.settings, held.keys)
    if axis is None:
        return _scattered(held, chosen, width, height)
    key = short_key(held.keys[axis.at])
    metric = metric_words(held.metric)
    first = _points(held, axis, chosen, seed_groups.target if metric else seed_groups.loss, is_target=True)
    name = metric or "loss"
    second = _points(held, axis, chosen, seed_groups.retained)
    if not first and not second:
        return [rule(((f"by {key}", ""),), width), ((" No run has finished yet.", "dim"),)]
    count = 2 if first and second and width >= TWO_FROM else 1
    panel_width = (width - 2 * (count - 1)) // count
    how = "95 % intervals over" if held.curves is not None else "the spread over"
    better: Line = ((f"{name}: lower is better ", "dim"),) if held.is_lower_better or not metric else ()
    lines = [rule(((f"by {key}, with {how} seeds", ""),), width, better)]
    margins = [run.check.margin for setting in held.settings for run in setting.runs if run.check is not None]
    panels = []
    if first:
        panels.append(panel(first, name, None, panel_width, height - 1))
    if second and len(panels) < count:
        limit = -margins[0] if margins else None
        panels.append(panel(second, "retained, points", limit, panel_width, height - 1))
    for row in zip(*panels, strict=True):
        line: Line = row[0]
        for more in row[1:]:
            line = (*line, (" " * max(0, panel_width - line_width(line)) + "  ", ""), *more)
        lines.append(line)
    return lines


def _points(
    held: SweepData, axis: Axis, chosen: Setting | None, value: Value, *, is_target: bool = False
) -> list[Point]:
    points = []
    for setting in held.settings:
        spread = seed_groups.spread(setting.runs, value)
        if spread is None:
            continue
        apart = spread.deviation or 0.0
        bar = _interval(held, setting, is_target=is_target) or (spread.mean - apart, spread.mean + apart)
        if len(axis.series) > MOST_BARS and (chosen is None or axis.others(chosen) != axis.others(setting)):
            bar = (spread.mean, spread.mean)
        word, letter = clean_line(setting.values[axis.at]), axis.letter(setting)
        beside = axis.series.index(axis.others(setting)) - len(axis.series) // 2
        points.append(Point(axis.x(setting), word, spread.mean, *bar, letter, setting is chosen, beside))
    return points


def _interval(held: SweepData, setting: Setting, *, is_target: bool) -> tuple[float, float] | None:
    """Return the interval of a curve's cell; None in other sweeps, or for one seed."""
    cells = () if held.curves is None else held.curves.cells
    values = dict(zip(held.keys, setting.values, strict=False))
    for cell in cells:
        if (cell.by, str(cell.rows)) == (values.get(tags.BY), values.get(tags.ROWS)):
            estimate = cell.target if is_target else cell.retained
            if estimate is not None and estimate.low is not None and estimate.high is not None:
                return estimate.low, estimate.high
    return None


def panel(points: Sequence[Point], title: str, limit: float | None, width: int, height: int) -> list[Line]:
    """Draw one chart in `height` rows: its title, the points, the values below them."""
    columns, rows = max(1, width - GUTTER), height - 2
    across = _across([point.x for point in points], columns)
    lows, highs = [point.low for point in points], [point.high for point in points]
    if limit is not None:
        lows.append(limit)
        highs.append(limit)
    low, high = min(lows), max(highs)
    if high == low:
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)

    def nearest(value: float) -> int:
        return min(rows - 1, max(0, round((high - value) / (high - low) * (rows - 1))))

    # The limit has a row of its own: means off the limit are drawn above or below it.
    means = [point.mean for point in points]
    limit_row = -1 if limit is None else nearest(limit)
    if limit is not None and rows > 2:
        limit_row = min(max(limit_row, int(max(means) > limit)), rows - 1 - int(min(means) < limit))

    def y(value: float) -> int:
        if limit is None:
            return nearest(value)
        if value == limit:
            return limit_row
        row = min(nearest(value), limit_row - 1) if value > limit else max(nearest(value), limit_row + 1)
        return min(rows - 1, max(0, row))

    digits = 1 if title.startswith("retained") else 2
    labels = {nearest(value): f"{value:.{digits}f}" for value in (low, high)}
    for value, label in y_ticks(Scale(low, high), rows):
        labels.setdefault(nearest(value), label)
    grid: Cell = (GRID, "faint")
    cells = [[grid if row in labels else (" ", "")] * columns for row in range(rows)]
    if limit is not None:
        labels[limit_row] = f"limit {limit:.0f}"
        cells[limit_row] = [("·", "amber")] * columns
    for point in points:
        x = min(columns - 1, max(0, across(point.x) + point.beside))
        for row in range(y(point.high), y(point.low) + 1):
            cells[row][x] = ("│", "bold" if point.is_chosen else "dim")
    for point in points:
        x = min(columns - 1, max(0, across(point.x) + point.beside))
        cells[y(point.mean)][x] = (point.letter, "reverse" if point.is_chosen else "bold")
    lines: list[Line] = [((f"{'':>{GUTTER}}{cut_end(title, columns)}", "dim"),)]
    for row, drawn in enumerate(cells):
        lines.append(((f"{labels.get(row, ''):>{GUTTER - 1}} ", "dim"), *joined(drawn)))
    return [*lines, ((" " * GUTTER + _values(points, across, columns), "dim"),)]


def _across(xs: Sequence[float], columns: int) -> Callable[[float], int]:
    """Return a function from value to column, logarithmic if the values are far apart."""
    low, high = min(xs), max(xs)
    is_log = low > 0 and high / low >= LOG_FROM
    edge = min(6, columns // 8)

    def place(value: float) -> float:
        return math.log(value) if is_log else value

    reach = (place(high) - place(low)) or 1.0
    return lambda value: edge + round((place(value) - place(low)) / reach * (columns - 1 - 2 * edge))


def _values(points: Sequence[Point], across: Callable[[float], int], columns: int) -> str:
    line = ""
    for x, word in sorted({point.x: point.word for point in points}.items()):
        start = max(0, min(columns - len(word), across(x) - len(word) // 2))
        if start >= len(line) + (2 if line else 0):
            line = f"{line:<{start}}{word}"
    return line


def _scattered(held: SweepData, chosen: Setting | None, width: int, height: int) -> list[Line]:
    spots, limit = [], None
    for letter, setting in zip(letters(held), held.settings, strict=True):
        reached = seed_groups.spread(setting.runs, seed_groups.target)
        kept = seed_groups.spread(setting.runs, seed_groups.retained)
        limit = next((-run.check.margin for run in setting.runs if run.check is not None), limit)
        if reached is not None and kept is not None:
            spots.append(Spot(letter, kept.mean, reached.mean, "reverse" if setting is chosen else "bold"))
    if len(spots) < 2:
        return []
    is_lower, x_words = held.is_lower_better, "{:.1f}".format
    drawn = scatter(
        spots, width=width, height=height - 1, limit=limit, x_words=x_words, lower_is_better=is_lower
    )
    return [scatter_rule(held.metric, width), *drawn]
