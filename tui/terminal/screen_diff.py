"""The shortest bytes that turn one screen of cells into another."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress, islice
from operator import gt, ne, or_
from typing import NamedTuple

from finetop.tui.terminal.cells import Cells, Row, blank_cells, blank_row
from finetop.tui.terminal.sgr import blank_style, change

_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")  # half of one
_CLEAR = "\x1b[m\x1b[H\x1b[2J"
# Erasing to the end of the line costs three bytes: worth it from four blanks on.
_ERASE_FROM = 4
# The cost in bytes of a jump to cells that stand apart.
_JUMP = 6
# A scroll costs about 24 bytes: if it may save more, both ways are drawn to see which is shorter.
_WORTH_TRYING = 24
# A screen has at most this many logs worth scrolling in one picture.
_MOST_SCROLLS = 3


class Pen(NamedTuple):
    """The terminal's cursor position and the style it writes in; None if unknown."""

    x: int | None = None
    y: int | None = None
    style: str | None = None


class Band(NamedTuple):
    """Rows first to last (of the new screen) that were `shift` rows lower on the old one."""

    first: int
    last: int
    shift: int


@dataclass(slots=True)
class _Strokes:
    """The output so far and the pen after it."""

    x: int | None
    y: int | None
    style: str | None
    pieces: list[str] = field(default_factory=list)


def difference(old: Cells | None, new: Cells, pen: Pen) -> tuple[str, Pen]:
    """Return what to send so that the terminal shows new, and the pen after it.

    old is what the terminal shows now; None, or another size, clears it first. Two spaces that look the same count as
    equal whatever their colour. The cursor ends on new.cursor, unless that is the top left corner, where it is parked
    when unused.
    """
    prefix = ""
    if old is None or old.size != new.size:
        prefix, old, pen = _CLEAR, blank_cells(*new.size), Pen(0, 0, "")
    text, after = _draw(old, new, pen)
    shortest = prefix + text
    for _ in range(_MOST_SCROLLS):
        band = moved_band(old.rows, new.rows)
        if band is None:
            break
        old, scroll, pen = _scroll(old, band, pen)
        prefix += scroll
        text, after_scroll = _draw(old, new, pen)
        if len(prefix) + len(text) >= len(shortest):
            break
        shortest, after = prefix + text, after_scroll
    return shortest, after


def moved_band(old: Sequence[Row], new: Sequence[Row]) -> Band | None:
    """Return the band of rows whose scrolling saves the most bytes, or None if none is worth trying."""
    changed = [y for y, row in enumerate(new) if row is not old[y] and row != old[y]]
    if len(changed) < 2:
        return None
    places: dict[str, list[int]] = {}
    for y in changed:
        places.setdefault("".join(old[y].graphemes), []).append(y)
    votes: Counter[int] = Counter()
    for y in changed:
        text = "".join(new[y].graphemes)
        for place in places.get(text, ()):
            votes[place - y] += len(text.split())
    best, best_gain = None, _WORTH_TRYING
    for shift, words in votes.most_common(2):
        if words:
            band, gain = _best_run(old, new, shift)
            if gain > best_gain:
                best, best_gain = band, gain
    return best


def _best_run(old: Sequence[Row], new: Sequence[Row], shift: int) -> tuple[Band, int]:
    """Return the run of rows that profits most from a shift (the largest sum), and the bytes it saves."""
    height = len(new)
    best, best_gain = Band(0, 0, shift), 0
    first, gain = max(0, -shift), 0
    for y in range(max(0, -shift), min(height, height - shift)):
        gain += _unlike(old[y], new[y]) - _unlike(old[y + shift], new[y])
        if gain <= 0:
            first, gain = y + 1, 0
        elif gain > best_gain:
            best, best_gain = Band(first, y, shift), gain
    if not best_gain:  # no such run: the band is meaningless
        return best, 0
    blank = blank_row(len(new[0].graphemes))
    first, last, _ = best
    bared = range(last + 1, last + 1 + shift) if shift > 0 else range(first + shift, first)
    return best, best_gain - sum(_unlike(blank, new[y]) - _unlike(old[y], new[y]) for y in bared)


def _unlike(old: Row, new: Row) -> int:
    """Estimate the bytes from one row to another: the cells that differ, and a jump to each run of them."""
    if old is new:
        return 0
    unlike = list(map(ne, old.graphemes, new.graphemes))
    if not any(unlike):
        unlike = list(map(ne, old.styles, new.styles))
    runs: int = unlike[0] + sum(map(gt, islice(unlike, 1, None), unlike))
    cells: int = sum(unlike)
    return cells + _JUMP * runs


def _scroll(cells: Cells, band: Band, pen: Pen) -> tuple[Cells, str, Pen]:
    """Return the cells after scrolling a band into its place, what to send for it, and the pen after it."""
    first, last, shift = band
    top, bottom = min(first, first + shift), max(last, last + shift)
    blanks = (blank_row(cells.width),) * abs(shift)
    inside = cells.rows[top : bottom + 1]
    inside = inside[shift:] + blanks if shift > 0 else blanks + inside[:shift]
    # On most terminals the bared rows take the pen's background: use the default one.
    plain = pen.style is not None and not blank_style(pen.style)
    step = f"\x1b[{bottom + 1}H" + "\n" * shift if shift > 0 else f"\x1b[{top + 1}H" + "\x1bM" * -shift
    sequence = f"{'' if plain else change(pen.style, '')}\x1b[{top + 1};{bottom + 1}r{step}\x1b[r"
    scrolled = Cells(cells.width, cells.rows[:top] + inside + cells.rows[bottom + 1 :])
    return scrolled, sequence, Pen(None, None, pen.style if plain else "")


def _draw(old: Cells, new: Cells, pen: Pen) -> tuple[str, Pen]:
    strokes = _Strokes(*pen)
    for y, (before, row) in enumerate(zip(old.rows, new.rows, strict=True)):
        if row is not before and row != before:
            _draw_row(strokes, y, before, row)
    if new.cursor != (0, 0):
        _move(strokes, *new.cursor, new.rows[new.cursor[1]])
    return "".join(strokes.pieces), Pen(strokes.x, strokes.y, strokes.style)


def _draw_row(strokes: _Strokes, y: int, old: Row, new: Row) -> None:
    graphemes, styles = new
    width = len(graphemes)
    unlike = map(or_, map(ne, graphemes, old.graphemes), map(ne, styles, old.styles))
    changed = [x for x in compress(range(width), unlike) if graphemes[x] != " " or not _alike(old, new, x)]
    if not changed:
        return
    blank_from = width
    if len(changed) >= _ERASE_FROM and graphemes[changed[-1]] == " ":
        while blank_from and graphemes[blank_from - 1] == " " and not blank_style(styles[blank_from - 1]):
            blank_from -= 1
        kept = [x for x in changed if x < blank_from]
        if len(changed) - len(kept) < _ERASE_FROM:
            blank_from = width
        else:
            changed = kept
    start = 0
    while start < len(changed):
        x, stop = changed[start], start + 1
        style = styles[x]
        while stop < len(changed) and changed[stop] - x == stop - start and styles[changed[stop]] == style:
            stop += 1
        _write(strokes, x, y, new, x + stop - start)
        start = stop
    if blank_from < width:
        _move(strokes, blank_from, y, new)
        if strokes.style is None or blank_style(strokes.style):
            strokes.pieces.append(change(strokes.style, ""))
            strokes.style = ""
        strokes.pieces.append("\x1b[K")


def _alike(old: Row, new: Row, x: int) -> bool:
    return old.graphemes[x] == " " and blank_style(new.styles[x]) == blank_style(old.styles[x])


def _write(strokes: _Strokes, x: int, y: int, row: Row, stop: int) -> None:
    """Write cells x to stop, which share a style."""
    _move(strokes, x, y, row)
    style = row.styles[x]
    graphemes = row.graphemes[x:stop]
    text = "".join(graphemes)
    blank = not text.strip(" ")
    if not (blank and strokes.style is not None and blank_style(strokes.style) == blank_style(style)):
        strokes.pieces.append(change(strokes.style, style))
        strokes.style = style
    if len(text) > len(graphemes) - graphemes.count("") or (not text.isascii() and _FLAG.search(text)):
        # Terminals disagree on the width of graphemes of several characters (emoji, flags, some scripts): position the
        # cursor again after each of them.
        for cell, grapheme in enumerate(graphemes, x):
            if grapheme:
                _move(strokes, cell, y, row)
                strokes.pieces.append(grapheme)
                certain = len(grapheme) == 1 and not _FLAG.match(grapheme)
                strokes.x = cell + 1 if certain and _is_known_after(row, cell, cell + 1) else None
        return
    strokes.pieces.append(text)
    strokes.x = stop if _is_known_after(row, x, stop) else None


def _is_known_after(row: Row, x: int, stop: int) -> bool:
    """Return whether the cursor stands on `stop` once the cells from x to it are written.

    After the last column a terminal waits to wrap; after a wide character some have moved only one cell.
    """
    return stop < len(row.graphemes) and "" not in row.graphemes[x : stop + 1]


def _move(strokes: _Strokes, x: int, y: int, row: Row) -> None:
    """Move the cursor to a cell of a row (as it will be), by the shortest sequence."""
    if strokes.x == x and strokes.y == y:
        return
    ways = [f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H" if y else "\x1b[H"]
    if strokes.y == y:
        ways.append(f"\x1b[{x + 1}G" if x else "\r")
        if strokes.x is not None:
            ways.append(_sideways(x - strokes.x))
            if 0 < x - strokes.x <= 4:
                gap = "".join(row.graphemes[strokes.x : x])
                alike = all(style == strokes.style for style in row.styles[strokes.x : x])
                if alike and gap.isascii() and len(gap) == x - strokes.x:
                    ways.append(gap)
    elif strokes.y is not None:
        down = y - strokes.y
        if x == 0 and 0 < down <= 4:
            ways.append("\r" + "\n" * down)
        if strokes.x is not None:
            rows = "" if abs(down) == 1 else abs(down)
            ways.append(f"{_sideways(x - strokes.x)}\x1b[{rows}{'B' if down > 0 else 'A'}")
    strokes.pieces.append(min(ways, key=len))
    strokes.x, strokes.y = x, y


def _sideways(cells: int) -> str:
    if cells > 0:
        return f"\x1b[{cells}C" if cells > 1 else "\x1b[C"
    return "\b" * -cells if cells >= -3 else f"\x1b[{-cells}D"
