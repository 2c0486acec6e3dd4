"""Format sizes and metrics with their units: memory in GiB, files in MB and GB, loss in nats/token."""

from __future__ import annotations

import math

from finetop.core.text import clean_line, number_words

GIB = 2**30


def gib(size: float) -> str:
    """Format GiB with significant digits only: '123', '80', '12.3', '7.8', '0.52'."""
    if size >= 10:
        return f"{size:.0f}" if size >= 100 else f"{size:.1f}".removesuffix(".0")
    return f"{size:.1f}" if size >= 1 else f"{size:.2g}"


def gib_of(size_bytes: float) -> str:
    """Format bytes in GiB, as `gib` does."""
    return gib(size_bytes / GIB)


def whole_gib(size: float) -> str:
    """Format whole GiB, so that a reason does not change at every poll; sizes below 1 to a tenth."""
    return f"{size:.0f}" if size >= 1 else f"{size:.1f}"


def size_word(size_bytes: float) -> str:
    """Format a size on disk in one unit: '812 B', '61.4 kB', '340.0 MB', '8.1 GB'."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f} B"
    if size_bytes < 100_000:
        return f"{size_bytes / 1e3:,.1f} kB"
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"


def metric_words(metric: str) -> str:
    """Return a metric's name as words: 'exact match', 'nats/token'."""
    return clean_line(metric).replace("_per_", "/").replace("_", " ")


def rounded(value: float, *bounds: float, digits: int = 1) -> str:
    """Round a number without moving it to or over a bound: 2.976 with a limit of 3 is 2.98, not 3.0."""
    for places in (digits, digits + 1):
        candidate = round(value, places)
        if all((candidate > at) == (value > at) and (candidate < at) == (value < at) for at in bounds):
            return f"{candidate + 0.0:.{places}f}"
    nearest = min(bounds, key=lambda at: abs(at - value))
    return f"{nearest + math.copysign(10.0**-places, value - nearest):.{places}f}"


def plus_minus(mean: float, half: float, digits: int) -> tuple[str, str]:
    """Round a mean and half its interval so that both still agree on whether it contains 0: 0.0302 ± 0.0298 stays."""
    for places in (digits, digits + 1, digits + 2):
        rounded_mean, around = round(mean, places) + 0.0, round(half, places)
        if (abs(rounded_mean) > around) == (abs(mean) > half):
            break
    return f"{rounded_mean:.{places}f}", f"{around:.{places}f}"


def value(number: float | None, width: int = 5) -> str:
    """Format a metric in `width` cells or little more: 0.982, 12.31, 1,234, 1.2e-5; '-' for None."""
    if number is None:
        return "-"
    size = abs(number)
    if size and (size < 0.001 or size >= 100_000):
        return number_words(number, 2)
    digits = max(0, width - 1 - len(str(int(size))))
    return f"{number:,.{min(3, digits)}f}"


def decimals(number: float | None, digits: int = 2) -> str:
    """Format a number with `digits` decimals: 0.08; '-' for None."""
    return "-" if number is None else f"{number:.{digits}f}"
