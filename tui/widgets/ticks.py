"""Ticks of an axis: round numbers (1, 2 or 5 times a power of ten), each with a short label, and the axis's unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from finetop.core.protocol.messages.runs import Across
from finetop.tui.widgets.axis import Scale, share_of

LABEL = 5  # cells of the longest label of the y axis
_MOST = 12  # parts of the x axis
_APART, _SHORTEST = 2, 4  # cells between two labels of the x axis, and of a label
_TRIES = 4  # coarser steps, until the labels fit
_SPANS: Final = (("d", 86400.0), ("h", 3600.0), ("min", 60.0))
_COUNTS: Final = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, slots=True)
class XTicks:
    """The x axis in a row of text: its unit, its labels, and the cells of the picture that have one."""

    unit: str
    text: str
    cells: tuple[int, ...]


def round_step(span: float, most: int) -> float:
    """Return the least of 1, 2 or 5 times a power of ten that divides a span into at most `most` parts."""
    least = max(span / max(1, most), 1e-300)
    unit = 10.0 ** math.floor(math.log10(least))
    return next((unit * factor for factor in (1, 2, 5) if unit * factor >= least * (1 - 1e-9)), unit * 10)


def y_ticks(scale: Scale, rows: int) -> list[tuple[float, str]]:
    """Return the values of the y axis that have a label, and the labels, from the lowest up."""
    ticks = _y_ticks(scale, rows)
    return [(at, text) for at, text in ticks if len(text) <= LABEL and share_of(scale, at) is not None]


def _y_ticks(scale: Scale, rows: int) -> list[tuple[float, str]]:
    if scale.is_log and scale.high >= 10 * scale.low:
        return _log_ticks(scale, rows)
    span, most = scale.high - scale.low, min(8, max(2, rows * 2 // 5))
    if not 0 < span < math.inf:
        return [(scale.low, label(scale.low))]
    for step in _steps_of(span, most):
        values = _multiples(scale.low, scale.high, step)
        labels = [label(value, step) for value in values]
        if len(values) > 1 and len(set(labels)) == len(labels) and max(map(len, labels)) <= LABEL:
            return list(zip(values, labels, strict=True))
    return _apart(scale, _steps_of(span, most))


def _steps_of(span: float, most: int) -> list[float]:
    """Return the steps to try: the one that fits, coarser ones, then finer ones, as one tick alone is no scale."""
    coarser = [round_step(span, most)]
    for _ in range(_TRIES - 1):
        coarser.append(round_step(coarser[-1] * 1.5, 1))
    finer = [round_step(span, parts) for parts in (most + 1, 2 * most, 4 * most)]
    return list(dict.fromkeys([*coarser, *finer]))


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [float(f"{at * step:.12g}") for at in range(first, last + 1)]


def _apart(scale: Scale, steps: Sequence[float]) -> list[tuple[float, str]]:
    """Label values that differ too little for their length: the first in full, the others by their difference.

    The first is one that a label holds exactly, if the lower half has any: the others are read as its sums.
    """
    rounded: list[tuple[float, str]] = []
    for step in steps:
        values = _multiples(scale.low, scale.high, step) or [scale.low]
        lower = values[: (len(values) + 1) // 2]
        exact = next((at for at, value in enumerate(lower) if _is_exact(value)), 0)
        first, *others = values[exact:]
        labels = [f"+{_brief(value - first, step)}" for value in others]
        if others and len(set(labels)) == len(labels) and all(len(text) <= LABEL for text in labels):
            ticks = [(first, _rounded(first)), *zip(others, labels, strict=True)]
            if _is_exact(first):
                return ticks
            rounded = rounded or ticks
    if rounded:
        return rounded
    ends = [(scale.low, _rounded(scale.low)), (scale.high, f"+{_brief(scale.high - scale.low, 0)}")]
    fits = all(len(text) <= LABEL for _, text in ends)
    return ends if fits else [(at, label(at, steps[0])) for at in _multiples(scale.low, scale.high, steps[0])]


def _rounded(value: float) -> str:
    """Return a value with as many digits as a label has room for."""
    numbers = [float(f"{value:.{digits}g}") for digits in (5, 4, 3, 2, 1)]
    return next((text for number in numbers if (text := _exact(number))), _brief(numbers[-1], 0))


def _is_exact(value: float) -> bool:
    return bool(_exact(float(f"{value:.9g}")))


def _exact(value: float) -> str:
    """Return the label that says a value to its last digit; empty if it is too long."""
    text = _brief(value, 0)
    size = next((size for size, unit in _COUNTS if text.endswith(unit)), 1.0)
    number = float(text.replace(",", "").rstrip("kMB")) * size
    return text if len(text) <= LABEL and math.isclose(number, value, rel_tol=1e-9) else ""


def _brief(value: float, step: float) -> str:
    """Return the shortest label of a value that loses no digit: 1.5k for 1,500, 5e-3 for 0.005."""
    powers = [_power(value, step)] if 1e-99 < abs(value) < math.inf else []
    if 1e3 <= abs(value) < 1e4:
        powers.append(f"{value / 1e3:.3g}k")
    exact = [text for text in powers if math.isclose(float(text.replace("k", "e3")), value, rel_tol=1e-9)]
    return min([label(value, step), *exact], key=len)


def _log_ticks(scale: Scale, rows: int) -> list[tuple[float, str]]:
    first, last = math.ceil(math.log10(scale.low) - 1e-9), math.floor(math.log10(scale.high) + 1e-9)
    every = max(1, -(-(last - first) // max(1, rows // 2)))
    ticks = [10.0**power for power in range(first, last + 1, every)]
    if last - first < 2:
        low, high = scale.low * (1 - 1e-9), scale.high * (1 + 1e-9)
        finer = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
        ticks = [tick for tick in finer if low <= tick <= high]
    return [(value, label(value)) for value in ticks]


def label(value: float, step: float = 0.0) -> str:
    """Format a value in 5 cells or little more, with the digits of its axis's step: 2.5, 0.12, 8e-5, 1,200, 12k."""
    size = abs(value)
    if not math.isfinite(value) or size < 1e-99 or size < step / 1e6:
        return "0"
    if size >= 1e12 or size < 1e-3:
        return _power(value, step)
    for unit, name in _COUNTS:
        if size >= unit and (unit > 1e3 or size >= 10_000):
            return f"{_number(value / unit, step / unit)}{name}"
    return _number(value, step)


def _number(value: float, step: float) -> str:
    if step <= 0:
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    digits = min(9, max(0, -math.floor(math.log10(step) + 1e-9)))
    return f"{value:,.{digits}f}"


def _power(value: float, step: float) -> str:
    power = math.floor(math.log10(abs(value)) + 1e-9)
    digits = 0 if step <= 0 else min(9, max(0, power - math.floor(math.log10(step) + 1e-9)))
    head, _, tail = f"{value:.{digits}e}".partition("e")
    return f"{head.rstrip('0').rstrip('.') if digits else head}e{int(tail)}"


def x_ticks(first: float, last: float, columns: int, x: Across = "step") -> XTicks:
    """Lay out the x axis below `columns` cells: its ends always, round numbers between them where there is room."""
    unit, size = _unit(last, x)
    span = max(last - first, 1e-9)
    longest = max(_SHORTEST, len(_x_label(last / size, round_step(span / size, 10), x)))
    step = round_step(span / size, min(_MOST, max(1, columns // (longest + _APART))))
    step = max(1.0, step) if x == "step" else step
    end = _x_label(last / size, step, x)
    placed = {columns - 1: (columns - len(end), end)} if len(end) <= columns else {}
    for value in (first / size, *_multiples(first / size, last / size, step)):
        cell = min(columns - 1, int((value * size - first) / span * columns + 1e-6))
        text = _x_label(value, step, x)
        at = max(0, cell - len(text) // 2)
        is_free = all(at + len(text) < start or start + len(other) < at for start, other in placed.values())
        if is_free and at + len(text) <= columns:
            placed[cell] = (at, text)
    row = [" "] * columns
    for at, text in placed.values():
        row[at : at + len(text)] = text
    inside = tuple(sorted(cell for cell in placed if 0 < cell < columns - 1))
    return XTicks(unit, "".join(row), inside)


def _unit(last: float, x: Across) -> tuple[str, float]:
    if x == "time":
        return next(((name, size) for name, size in _SPANS if last >= 2 * size), ("s", 1.0))
    return {"step": "step", "tokens": "token", "epoch": "epoch"}[x], 1.0


def _x_label(value: float, step: float, x: Across) -> str:
    if x in ("step", "tokens"):
        least = 10_000_000 if x == "step" else 1000
        size, unit = next(((size, unit) for size, unit in _COUNTS if value >= max(size, least)), (1.0, ""))
        if not unit:
            return f"{round(value):,}"
        digits = max(0, min(9, math.ceil(math.log10(size / step) - 1e-9)))
        own = max(0, 2 - math.floor(math.log10(value / size)))  # three in all, more only as the step needs
        text = f"{value / size:.{max(digits, own)}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text) + unit
    return f"{value:.6g}" if step >= 1 else f"{float(_number(value, step)):g}"


def x_words(place: float, x: Across = "step") -> str:
    """Format a place on the x axis with its unit: 820, 1.2M tok, 40 min, epoch 1.5."""
    match x:
        case "step":
            return f"{round(place):,}"
        case "tokens":
            return f"{short_count(place)} tok"
        case "time":
            unit, size = _unit(place, x)
            return f"{place / size:.3g} {unit}"
    return f"epoch {place:.2f}".rstrip("0").rstrip(".")


def short_count(number: float) -> str:
    """Format a count with three digits: 820, 51.2k, 1.2M."""
    for size, unit in _COUNTS:
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"
