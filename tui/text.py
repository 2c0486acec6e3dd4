"""How numbers, times and names are written: short, and without ever cutting a number."""

from __future__ import annotations

import re

from rich.cells import cell_len, set_cell_size

_NUMBER = re.compile(r"[-+±]?[\d.,]*\d$")  # at the end of what is kept


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


def without_zero(number: float, digits: int = 2) -> str:
    """Write a number below one without its zero: .08."""
    text = f"{number:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
