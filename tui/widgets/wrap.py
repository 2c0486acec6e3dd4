"""Breaks outside text into rows of at most so many cells: at blanks where there are any."""

from __future__ import annotations

from rich.cells import cell_len, chop_cells

from finetop.core.text import clean
from finetop.tui.text import cut_end


def wrapped(text: str, width: int, rows: int | None = None) -> list[str]:
    """Clean a text and break it into rows of at most `width` cells; with `rows`, the last of them ends with …."""
    width = max(1, width)
    lines: list[str] = []
    for paragraph in clean(text).replace("\t", "    ").split("\n"):
        lines += _broken(paragraph, width)
        if rows is not None and len(lines) > rows:
            break
    if rows is not None and len(lines) > rows:
        lines = [*lines[: rows - 1], _going_on(lines[rows - 1], width)] if rows > 0 else []
    return lines


def _going_on(row: str, width: int) -> str:
    """End a row with …, apart from a number, and without a part of one."""
    ending = " …" if row[-1:].isdigit() else "…"
    return row + ending if cell_len(row + ending) <= width else cut_end(f"{row}  ", width)


def _broken(paragraph: str, width: int) -> list[str]:
    lines: list[str] = []
    line, line_cells = "", 0
    for word in paragraph.split(" "):
        cells = cell_len(word)
        if line and line_cells + 1 + cells <= width:
            line, line_cells = f"{line} {word}", line_cells + 1 + cells
            continue
        if line:
            lines.append(line)
        *whole, line = chop_cells(word, width) or [""]
        lines += whole
        line_cells = cell_len(line)
    lines.append(line)
    return lines
