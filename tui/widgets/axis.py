"""The axes of a chart: a y range that only ever widens, an x axis that ends at the planned last step."""

from __future__ import annotations

import math
from dataclasses import dataclass

_LARGEST = 1e300  # larger values are drawn at the edge
_LEAST = 1e-300  # of a logarithmic axis
_FIRST_END = 50  # steps at which an axis of unknown end begins
_SAME = 1e-9  # relative: the mean of equal numbers differs from them by less
_JUMP = 1000.0  # a value this many ranges away makes a new range: doubling would leave the rest a flat line
_NEAR = 1e-6  # share of the axis: a value this little beyond its end still counts as on it
_ENDS = (1, 1.5, 2, 3, 5, 7.5, 10)  # ends of a growing axis, times a power of ten


@dataclass(frozen=True, slots=True)
class Scale:
    """The y axis: its values at the bottom and at the top. Logarithmic ones hold only values above 0."""

    low: float
    high: float
    is_log: bool = False


def scale_of(low: float, high: float, *, is_log: bool = False) -> Scale:
    """Fit a scale to values from low to high, with ends of two digits."""
    low, high = _bounded(low), _bounded(high)
    if is_log:
        low, high = max(low, _LEAST), max(high, _LEAST)
        return Scale(_round_log(low, up=False), _round_log(high * 1.0000001, up=True), True)
    if high - low <= abs(high) * _SAME:
        reach = abs(low) * 0.1 or 1.0
        low, high = (low if low == 0 else low - reach), high + reach
    unit = 10.0 ** math.floor(math.log10(max(high - low, 1e-307))) / 10
    rounded = Scale(min(low, math.floor(low / unit) * unit), max(high, math.ceil(high / unit) * unit))
    return rounded if rounded.low < rounded.high else Scale(low, high)


def _round_log(value: float, *, up: bool) -> float:
    unit = 10.0 ** math.floor(math.log10(value))
    digits = math.ceil(value / unit) if up else math.floor(value / unit)
    return _bounded(max(1, digits) * unit)


def _bounded(value: float) -> float:
    return min(max(value, -_LARGEST), _LARGEST)


def widened(scale: Scale | None, low: float, high: float, *, is_log: bool = False) -> Scale:
    """Return a scale that also holds low to high: the old one, doubled as often as needed. It never narrows."""
    if scale is None or scale.is_log != is_log:
        return scale_of(low, high, is_log=is_log)
    low, high = _bounded(low), _bounded(high)
    if scale.low <= low and high <= scale.high:
        return scale
    if is_log:
        fitted = scale_of(low, high, is_log=True)
        return Scale(min(scale.low, fitted.low), max(scale.high, fitted.high), True)
    span = scale.high - scale.low
    if not span > 0 or max(high - scale.high, scale.low - low) > _JUMP * span:
        return scale_of(min(low, scale.low), max(high, scale.high))
    new_low, new_high = scale.low, scale.high
    while high > new_high:
        new_high, span = new_high + span, span * 2
    while low < new_low:
        new_low, span = new_low - span, span * 2
    return Scale(max(new_low, 0.0) if min(low, scale.low) >= 0 else new_low, new_high)


def share_of(scale: Scale, value: float) -> float | None:
    """Return a value's position on the axis, from 0 to 1; None if it is not on it."""
    low, high, value = scale.low, scale.high, _bounded(value)
    if scale.is_log:
        if value <= 0 or low <= 0:
            return None
        low, high, value = math.log10(low), math.log10(high), math.log10(max(value, _LEAST))
    span = high / 2 - low / 2
    if not span > 0:
        return 0.5
    share = (value / 2 - low / 2) / span
    return min(max(share, 0.0), 1.0) if -_NEAR <= share <= 1 + _NEAR else None


def x_end(newest: int, planned: int, first_end: int = _FIRST_END) -> int:
    """Return the end of the x axis: the planned one; if unknown, it doubles as needed."""
    if planned >= max(newest, 1):
        return planned
    end = max(planned, first_end)
    while end < newest:
        end *= 2
    return end


def round_end(least: float) -> float:
    """Return a round end for an axis that grows with its values, so that it seldom moves."""
    unit = 10.0 ** math.floor(math.log10(max(least, 1e-9)))
    return next(unit * factor for factor in _ENDS if unit * factor >= least * (1 - 1e-9))
