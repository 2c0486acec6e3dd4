"""The axes of a chart: a y range that only ever widens, an x axis that ends at the planned last step, short labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from finetop.core.protocol.messages.runs import Across

LABEL = 5  # cells of the longest label
_LARGEST = 1e300  # values beyond are drawn at the edge
_FIRST_END = 50  # steps that an axis of unknown end starts with
_SAME = 1e-9  # of a value: the mean of equal numbers differs from them by less
_JUMP = 1000.0  # a value so many ranges away makes a new range: doubling would leave the rest a flat line


@dataclass(frozen=True, slots=True)
class Scale:
    """The y axis: its values at the bottom and at the top. Logarithmic ones hold values above 0 only."""

    low: float
    high: float
    is_log: bool = False


def scale_of(low: float, high: float, *, is_log: bool = False) -> Scale:
    """Fit a scale to values from low to high, with ends of two digits."""
    low, high = _bounded(low), _bounded(high)
    if is_log:
        low, high = max(low, 1e-300), max(high, 1e-300)
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
    """Return the scale that holds low to high as well: the old one, or it doubled until it does. It never narrows."""
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
    """Tell how far up the axis a value is, from 0 to 1; None where a logarithmic axis has no place for it."""
    low, high, value = scale.low, scale.high, _bounded(value)
    if scale.is_log:
        if value <= 0 or low <= 0:
            return None
        low, high, value = math.log10(low), math.log10(high), math.log10(value)
    span = high / 2 - low / 2
    if not span > 0:
        return 0.5
    return min(max((value / 2 - low / 2) / span, 0.0), 1.0)


def x_end(newest: int, planned: int, first_end: int = _FIRST_END) -> int:
    """Return the end of the x axis: the planned one; where the end is unknown, it doubles."""
    if planned >= max(newest, 1):
        return planned
    end = max(planned, first_end)
    while end < newest:
        end *= 2
    return end


def label(value: float, span: float = 0.0) -> str:
    """Write a value in at most 5 cells, with the digits that its axis's span calls for: 2.9, .12, 8e-5, 12k."""
    size = abs(value)
    if not math.isfinite(value) or size < 1e-99:
        return "0"
    if size >= 1e6 or (size < 1e-3 and span < 1e-2):
        return _power(value)
    if size >= 10_000:
        return f"{value / 1000:.0f}k"
    if 0 < span < size * 1e-3:
        return f"{value:.4g}"[:LABEL].rstrip(".")
    digits = min(4, max(0, 1 - math.floor(math.log10(span)))) if span > 0 else 2
    text = _number(value, digits)
    while len(text) > LABEL and digits:
        digits -= 1
        text = _number(value, digits)
    return text if len(text) <= LABEL else _power(value)


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    if abs(value) < 1 and digits:
        text = text.replace("0.", ".", 1)
    return "0" if not float(text) and not digits else text


def _power(value: float) -> str:
    power = math.floor(math.log10(abs(value)))
    power = min(max(power, -99), 99)
    digits = min(9, max(1, round(abs(value) / 10.0**power)))
    sign = "-" if value < 0 else ""
    texts = (f"{sign}{digits}e{power}", f"{sign}1e{power}")
    return next((text for text in texts if len(text) <= LABEL), f"{sign}e{power}")


def y_labels(scale: Scale) -> tuple[str, str]:
    """Write the values at the bottom and the top; the top as a difference where both would read the same."""
    span = scale.high - scale.low
    if scale.is_log:
        return label(scale.low), label(scale.high)
    low, high = label(scale.low, span), label(scale.high, span)
    return (low, high) if low != high else (low, f"+{label(span)}"[:LABEL])


def x_labels(first: float, last: float, newest: float, width: int, x: Across = "step") -> str:
    """Write the x axis in `width` cells: its ends, and the newest place below its column where there is room."""
    end = x_label(last, x)
    row = [" "] * width
    placed = [(0, x_label(first, x)), (width - len(end), end)]
    if first < newest < last:
        text = x_label(newest, x)
        placed.append((int((newest - first) / (last - first) * width) - len(text) // 2, text))
    for at, text in placed:
        if (
            at < 0
            or at + len(text) > width
            or any(c != " " for c in row[max(0, at - 1) : at + len(text) + 1])
        ):
            continue
        row[at : at + len(text)] = text
    return "".join(row)


def x_label(place: float, x: Across = "step") -> str:
    """Write a place on the x axis, short, in the axis's unit: 820, 1.2M tok, 40 min, epoch 1.5."""
    match x:
        case "step":
            return _steps(round(place))
        case "tokens":
            return f"{_short(place)} tok"
        case "time":
            return _passed(place)
    return f"epoch {place:.2f}".rstrip("0").rstrip(".")


def _short(number: float) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _passed(seconds: float) -> str:
    for unit, size, least in (("d", 86400, 2), ("h", 3600, 2), ("min", 60, 2)):
        if seconds >= size * least:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


def _steps(step: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if step >= size * 100:
            return f"{step / size:.4g}{unit}"
    return f"{step:,}" if step >= 10_000 else str(step)
