"""The terminal's cells: the result of a Textual frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import split_graphemes

from finetop.tui.terminal.sgr import restyle

_FRAME_SEQUENCE = re.compile(r"\[(\d*)(?:;(\d*))?H|\[([\d;:]*)m")
# Characters per cell: a flag of letters has 8, a family 11; stacks of accents would cost kilobytes per cell.
_LONGEST = 16
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])
# Characters known to take one cell each; grows as others are seen, so that most text is stored in one slice.
_narrow = {chr(code) for code in range(0x20, 0x7F)}


class Row(NamedTuple):
    """One row: a grapheme per cell ("" on the second cell of a wide one) and its canonical SGR style."""

    graphemes: list[str]
    styles: list[str]


@dataclass(frozen=True, slots=True)
class Cells:
    """A screen of cells. Screens share common rows, so a row is never changed in place."""

    width: int
    rows: tuple[Row, ...]
    cursor: tuple[int, int] = (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in cells."""
        return self.width, len(self.rows)


def blank_cells(width: int, height: int) -> Cells:
    """Return an empty screen."""
    return Cells(width, (blank_row(width),) * height)


def blank_row(width: int) -> Row:
    """Return an empty row."""
    return Row([" "] * width, [""] * width)


def resized(cells: Cells, width: int, height: int) -> Cells:
    """Return the cells cut or padded with blanks at the right and at the bottom."""
    rows = []
    for row in cells.rows[:height]:
        graphemes, styles = row.graphemes[:width], row.styles[:width]
        if width < cells.width and not row.graphemes[width]:
            graphemes[-1] = " "
        padding = width - len(graphemes)
        rows.append(Row(graphemes + [" "] * padding, styles + [""] * padding))
    rows.extend([blank_row(width)] * (height - len(rows)))
    return Cells(width, tuple(rows))


def apply_frame(cells: Cells, frame: str, colour: bool = True) -> Cells:
    """Return the cells after a frame: cursor positions, SGR, text and newlines.

    Hyperlinks are dropped. Any other escape or control character came from the text of a widget, which counted it as no
    cell: it is dropped too, so that text cannot control the terminal.
    """
    rows = list(cells.rows)
    width, height = cells.size
    own: set[int] = set()
    x = y = 0
    style = ""
    in_link = False
    first, *pieces = frame.split("\x1b")
    for piece in [f"[m{first}", *pieces]:
        if piece.startswith("[0m"):
            style, text = "", piece[3:]
        elif match := _FRAME_SEQUENCE.match(piece):
            line, column, parameters = match.groups()
            text = piece[match.end() :]
            if parameters is not None:
                style = restyle(style, parameters, colour)
            else:
                y, x = max(int(line or 1), 1) - 1, max(int(column or 1), 1) - 1
        elif piece.startswith("]8;"):
            text = piece.partition("\x07")[2]
            in_link = "\x07" not in piece
        else:
            text = piece[1:] if in_link and piece.startswith("\\") else piece
            in_link = False
        if not text:
            continue
        for index, part in enumerate(text.split("\n") if "\n" in text else (text,)):
            if index:
                x, y = 0, min(y + 1, height - 1)
            if part and y < height:
                if y not in own:
                    own.add(y)
                    rows[y] = Row(rows[y].graphemes.copy(), rows[y].styles.copy())
                x = _put(rows[y], x, part, style)
    return Cells(width, tuple(rows), (min(x, width - 1), min(y, height - 1)))


def _put(row: Row, x: int, text: str, style: str) -> int:
    """Write text on a row of our own from cell x, cut at the right edge, and return the cell after it."""
    graphemes, styles = row
    width = len(graphemes)
    if not _narrow.issuperset(text):
        return _put_graphemes(row, x, text.translate(_CONTROLS), style)
    text = text[: max(width - x, 0)]
    if not text:
        return x
    end = x + len(text)
    _split_wide(row, x, end)
    graphemes[x:end] = text
    styles[x:end] = [style] * len(text)
    return end


def _put_graphemes(row: Row, x: int, text: str, style: str) -> int:
    graphemes, styles = row
    width = len(graphemes)
    for start, end, cells in split_graphemes(text)[0]:
        grapheme = text[start : min(end, start + _LONGEST)]
        if cells == 1 and len(grapheme) == 1:
            _narrow.add(grapheme)
        if cells == 0:
            # A combining character without its base continues the cell before it.
            if 0 < x <= width:
                at = x - 1 if graphemes[x - 1] else x - 2
                graphemes[at] = (graphemes[at] + grapheme)[:_LONGEST]
            continue
        if x < width:
            # A wide character does not fit the last cell.
            grapheme = grapheme if x + cells <= width else " "
            stop = min(x + cells, width)
            _split_wide(row, x, stop)
            graphemes[x:stop] = [grapheme, ""][: stop - x]
            styles[x:stop] = [style] * (stop - x)
        x += cells
    return x


def _split_wide(row: Row, start: int, end: int) -> None:
    """Blank the remaining halves of wide characters cut in two by writing cells start to end."""
    graphemes = row.graphemes
    if not graphemes[start]:
        graphemes[start - 1] = " "
    if end < len(graphemes) and not graphemes[end]:
        graphemes[end] = " "
