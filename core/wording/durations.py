"""Format durations and moments."""

from __future__ import annotations

import time
from datetime import datetime, tzinfo

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def long_span(seconds: float) -> str:
    """Format a duration in at most two units: '0.3 s', '40 s', '12 min', '2 h 5 min', '3 days'."""
    seconds = max(0.0, seconds)
    if 0.05 <= seconds < 0.95:
        return f"{seconds:.1g} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds) // 60
    hours, rest = divmod(minutes, 60)
    if hours < 1:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} days"


def short_span(seconds: float) -> str:
    """Format a duration in one unit, for a table cell: '40 s', '6 m', '3 h', '2 d'."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(max(0.0, seconds))} s"


def exact_span(seconds: float) -> str:
    """Format a duration in one unit, precise enough to compare two: '0.041 s', '3.21 s', '3.5 min'."""
    if seconds >= 120:
        return f"{seconds / 60:.1f} min"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    return "0 s" if seconds < 0.0005 else f"{seconds:.2f} s" if seconds >= 1 else f"{seconds:.2g} s"


def ago(moment: float, now: float | None = None) -> str:
    """Format how long ago a moment was, in one unit."""
    return short_span((time.time() if now is None else now) - moment)


def day(moment: float) -> str:
    """Format a moment as this machine's date and time: '2026-03-01 14:32'."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def clock(moment: float) -> str:
    """Format a moment as this machine's time of day: '14:32'."""
    return time.strftime("%H:%M", time.localtime(moment))


def day_clock(moment: float, now: float, zone: tzinfo | None = None) -> str:
    """Format a future moment: '07:00', with the day if it is a day or more away: 'Mon 07:00'."""
    moment_there = datetime.fromtimestamp(moment, zone)
    return f"{moment_there:%H:%M}" if moment - now < 86_400 else f"{moment_there:%a %H:%M}"
