"""How numbers, times and names are written: short, and without ever cutting a number."""

from __future__ import annotations

import re

from rich.cells import cell_len, set_cell_size

from finetop.core.text import clean_line
from finetop.core.wording.sparkline import sparkline as sparkline

_NUMBER = re.compile(r"[-+±]?[\d.,]*\d$")  # at the end of what is kept
_SPANS = (("d", 86400), ("h", 3600), ("m", 60))


def cut_end(text: str, width: int) -> str:
    """Cut text to `width` cells, with … at the end if something went; a number goes as a whole."""
    if cell_len(text) <= width:
        return text
    if width < 1:
        return ""
    kept = set_cell_size(text, width - 1)
    if kept[-1:].isdigit():
        kept = _NUMBER.sub("", kept)  # `12…` would read as the beginning of a longer one
    short = kept.rstrip()
    return short + (" …" if short[-1:].isdigit() and len(short) < len(kept) else "…")


def cut_middle(text: str, width: int) -> str:
    """Cut a name to `width` cells in its middle: the end tells runs apart."""
    if cell_len(text) <= width:
        return text
    if width < 5:
        return cut_end(text, width)
    tail_width = (width - 1) // 2
    tail = ""
    for letter in reversed(text):
        if cell_len(tail) + cell_len(letter) > tail_width:
            break
        tail = letter + tail
    head = set_cell_size(text, width - 1 - cell_len(tail)).rstrip()
    return f"{head}…{tail}"


def count(number: int) -> str:
    """Write a whole number with its thousands set apart: 3,000."""
    return f"{number:,}"


def counted(number: int, one: str, many: str = "") -> str:
    """Write a number with its noun: '1 run', '2 runs'."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def metric_words(metric: str) -> str:
    """Write a metric's name as people say it: nats/token, exact match."""
    return clean_line(metric).replace("_per_", "/").replace("_", " ")


def of_steps(done: int, planned: int) -> str:
    """Write progress in at most 9 cells: '820/1200', '12k/120k', '41' where no end is known."""
    if not planned:
        return _short(done) if done else ""
    whole = f"{done}/{planned}"
    return whole if len(whole) <= 9 else f"{_short(done)}/{_short(planned)}"


def _short(number: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if number >= size * 10:
            return f"{number // size}{unit}"
    return str(number)


def value(number: float | None, width: int = 5) -> str:
    """Write a metric in `width` cells or little more: 0.982, 12.31, 1.2e-05; '-' for none."""
    if number is None:
        return "-"
    size = abs(number)
    if size and (size < 0.001 or size >= 100_000):
        return f"{number:.1e}"
    digits = max(0, width - 1 - len(str(int(size))))
    return f"{number:.{min(3, digits)}f}"


def points(drop: float) -> str:
    """Write a drop in points as a change: a drop of 9.1 is '-9.1'."""
    change = round(-drop, 1)
    return f"{change:+.1f}" if change else "0.0"


def without_zero(number: float, digits: int = 2) -> str:
    """Write a number below one without its zero: .08."""
    text = f"{number:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def span(seconds: float) -> str:
    """Write how long in one unit, in at most 4 cells where that is possible: '40 s', '6 m', '3 h', '2 d'."""
    seconds = max(0.0, seconds)
    for unit, size in _SPANS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def long_span(seconds: float) -> str:
    """Write how long in words, in two units: '41 min', '2 h 40 min', '3 days'."""
    seconds = max(0.0, seconds)
    minutes = int(seconds // 60)
    if seconds < 60:
        return f"{int(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    return f"{minutes // 1440} days"


def size_word(size_bytes: int) -> str:
    """Write a size on the disk: '8.1 GB', '340.0 MB', '61.4 kB'."""
    if size_bytes < 100_000:
        return f"{size_bytes / 1e3:,.1f} kB"
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"


def clock(at: float) -> str:
    """Write a moment as hours and minutes of this machine's time: 14:32."""
    import time

    return time.strftime("%H:%M", time.localtime(at))
