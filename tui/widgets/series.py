"""The curves of a chart: what each line goes through, smoothed or not, and the y axis that holds them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

from msgspec.structs import replace

from finetop.core.protocol.messages.runs import Across, Curve
from finetop.tui.theme import StyleName
from finetop.tui.widgets.axis import Scale, widened

SPIKE = 4.0  # times the usual distance of a bin's extreme from its mean: further ones are drawn as spikes
_START: Final = 0.2  # share of the x axis in which curves fall fast
_LESS: Final = 0.6  # share of the whole range: below it, cutting the start off is worth it


@dataclass(frozen=True, slots=True)
class Series:
    """One curve of a chart: a line or single points."""

    curve: Curve
    is_points: bool = False
    end: str = ""  # drawn after its last point
    letter: str = ""  # drawn along the line if the picture has letters
    style: StyleName = "series1"
    has_band: bool = False  # low and high are drawn faintly: a spread, not extremes of single points


class Stretch(NamedTuple):
    """The part of an x axis that curves are requested for, and the number of columns."""

    x: Across
    first: float
    last: float
    columns: int


@dataclass(frozen=True, slots=True)
class View:
    """The part of a run that is drawn, and how. `cursor` is a cell of the picture, `smoothing` from 0 (none) to 1."""

    first: float
    last: float
    cursor: int | None = None
    smoothing: float = 0.0
    is_log: bool = False
    x: Across = "step"


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Average each value with those before it, with exponentially falling weights that sum to 1."""
    kept, total, shown = 0.0, 0.0, []
    for value in values:
        kept = weight * kept + (1 - weight) * value
        total = weight * total + (1 - weight)
        shown.append(kept / total)
    return shown


def values_of(series: Series, smoothing: float) -> list[float]:
    """Return what the line goes through: the mean of each bin, smoothed if requested."""
    means = series.curve.mean
    return smoothed(means, smoothing) if smoothing and not series.is_points else means


def points_of(series: Series, smoothing: float) -> list[tuple[int, float]]:
    """Return the columns with what the line goes through there."""
    return list(zip(series.curve.column, values_of(series, smoothing), strict=True))


def spikes_of(series: Series, smoothing: float) -> list[tuple[int, float, float]]:
    """Return what sticks out of the line: column, the bin's mean and its extreme. Usual noise is not drawn.

    The highest and the lowest value always are: they are read off the picture.
    """
    if smoothing or series.is_points or series.has_band or not series.curve.column:
        return []
    curve = series.curve
    spikes: list[tuple[int, float, float]] = []
    for ends, furthest in (
        (curve.high, curve.high.index(max(curve.high))),
        (curve.low, curve.low.index(min(curve.low))),
    ):
        reach = [abs(end - mean) for end, mean in zip(ends, curve.mean, strict=True)]
        usual = median(reach)
        bins = enumerate(zip(curve.column, curve.mean, ends, reach, strict=True))
        spikes += [
            (column, mean, end)
            for at, (column, mean, end, far) in bins
            if far > SPIKE * usual or at == furthest
        ]
    return spikes


def _extent(series: Series, smoothing: float) -> list[float]:
    """Return the finite values that the picture must hold: all of them, so that noise is not blown up."""
    values = [*series.curve.mean, *values_of(series, smoothing)]
    if not (smoothing or series.is_points):
        values = [*series.curve.low, *series.curve.high, *values]
    return [value for value in values if math.isfinite(value)]


def settled_scale(series: Sequence[Series], view: View) -> Scale | None:
    """Return the y axis for the curves after their fast start; None if it would show little more than the whole."""
    points = [point for line in series for point in points_of(line, view.smoothing)]
    columns = [column for column, _ in points]
    late = min(columns, default=0) + _START * (max(columns, default=0) - min(columns, default=0))
    values = [value for column, value in points if column >= late and math.isfinite(value)]
    whole = fitted(None, series, view)
    if not values or whole is None or view.is_log:
        return None
    scale = widened(None, min(values), max(values))
    return scale if scale.high - scale.low < _LESS * (whole.high - whole.low) else None


def fitted(
    scale: Scale | None, series: Sequence[Series], view: View, limit: float | None = None
) -> Scale | None:
    """Return the y axis for curves: the previous one, widened if they leave it; None if there is nothing to draw."""
    values = [y for line in series for y in _extent(line, view.smoothing) if y > 0 or not view.is_log]
    if not values:
        return scale
    low, high = min(values), max(values)
    if limit is not None and math.isfinite(limit) and (limit > 0 or not view.is_log):
        low, high = min(low, limit), max(high, limit + 0.15 * abs(limit - low))
    return widened(scale, low, high, is_log=view.is_log)


def in_columns(curve: Curve, columns: int, wanted: int) -> Curve:
    """Convert a curve of `columns` columns to `wanted`, for a resized picture, until newer data arrive.

    Columns that fall together become one: its extremes are theirs, its mean that of all their values.
    """
    if columns == wanted or columns < 1:
        return curve
    bins: dict[int, list[int]] = {}
    for at, column in enumerate(curve.column):
        place = column * wanted // columns if wanted < columns or column < columns - 1 else wanted - 1
        bins.setdefault(place, []).append(at)
    counts = curve.count or [1] * len(curve.column)

    def mean(together: Sequence[int]) -> float:
        total = sum(counts[at] for at in together)
        return sum(curve.mean[at] * (counts[at] / total) for at in together)

    return replace(
        curve,
        column=list(bins),
        low=[min(curve.low[at] for at in together) for together in bins.values()],
        high=[max(curve.high[at] for at in together) for together in bins.values()],
        mean=[mean(together) for together in bins.values()],
        count=[sum(curve.count[at] for at in together) for together in bins.values()] if curve.count else [],
        step=[curve.step[together[-1]] for together in bins.values()] if curve.step else [],
    )


def end_value(series: Series, smoothing: float = 0.0) -> float | None:
    """Return the value that a curve's line ends with; None for one without points."""
    values = values_of(series, smoothing)
    return values[-1] if values else None


class Reading(NamedTuple):
    """What a curve says at a cell: a value, of how many values it is the mean, and the newest one's step.

    The number is 0 and the step None if they are unknown.
    """

    value: float
    number: int
    step: int | None = None


def value_at(series: Series, cell: int, smoothing: float = 0.0) -> Reading | None:
    """Return a curve's value at a cell: the mean of all there, else the newest bin before; None before the first.

    A smoothed line is read where it is drawn: at its newest point there. A bin without a count weighs as one value.
    """
    curve = series.curve
    end = bisect_left(curve.column, 2 * cell + 2)
    start = bisect_left(curve.column, 2 * cell)
    if end == 0:
        return None
    here = range(start, end) if start < end else range(end - 1, end)
    step = curve.step[here[-1]] if curve.step else None
    if smoothing and not series.is_points:
        return Reading(values_of(series, smoothing)[here[-1]], 0, step)
    counts = [curve.count[at] if curve.count else 1 for at in here]
    value = sum(curve.mean[at] * (count / sum(counts)) for at, count in zip(here, counts, strict=True))
    return Reading(value, sum(counts) if curve.count else 0, step)
