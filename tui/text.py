"""Text in cells: cutting and wrapping numbers and names, and the lines of coloured spans that every widget draws."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from rich.cells import cell_len, chop_cells, set_cell_size

from finetop.core.text import SHOWN_BYTES, clean, clean_line
from finetop.tui.theme import StyleName

STEPS_WIDTH = 11  # cells
_NUMBER = re.compile(r"[-+±]?[\d.,]*\d$")  # at the end of the kept part
Span: TypeAlias = tuple[str, StyleName]
Line: TypeAlias = tuple[Span, ...]

CURSOR: Final[Span] = ("▸", "cursor")  # the first cell of the row under the cursor
RULE: Final[Span] = ("── ", "faint")  # the beginning of a rule


def cut_end(text: str, width: int) -> str:
    """Cut text to `width` cells, with … at the end if it was cut; a number is never cut in two."""
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
    """Cut a name to `width` cells in its middle: the end distinguishes runs."""
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


def distinct_names(names: Sequence[str], width: int) -> list[str]:
    """Cut names to `width` cells so that they differ: their common beginning is cut first."""
    if all(cell_len(name) <= width for name in names):
        return list(names)
    alike = next((at for at, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), 0)
    word = max(names[0].rfind(mark, 0, alike) + 1 for mark in "-_/ ")
    cut: list[str] = []
    for start in (word, alike):
        cut = [_without_start(name, start, width) for name in names]
        if len(set(cut)) == len(set(names)):
            return cut
    for short in {short for short in cut if 1 < cut.count(short) < len(cut)}:
        same = [at for at, other in enumerate(cut) if other == short]
        for at, better in zip(same, distinct_names([names[at] for at in same], width), strict=True):
            cut[at] = better
    return cut


def _without_start(name: str, start: int, width: int) -> str:
    """Cut a name to `width` cells: keep its first letters, and what follows the common start."""
    rest = name[start:]
    if cell_len(name) <= width:
        return name
    if not start or cell_len(rest) >= width:
        return cut_middle(rest or name, width)
    return f"{set_cell_size(name[:start], width - 1 - cell_len(rest)).rstrip()}…{rest}"


def padded(text: str, width: int) -> str:
    """Pad text with blanks to `width` cells."""
    return text + " " * (width - cell_len(text))


def leaf(path: str) -> str:
    """Return the last part of a path or of a model's name, clean: Qwen3-4B."""
    return clean_line(path).rstrip("/").rpartition("/")[2]


def has_words(text: str, query: str) -> bool:
    """Return whether a text has all words of a query, in any order and case."""
    folded = text.casefold()
    return all(word in folded for word in query.casefold().split())


def of_steps(done: int, planned: int) -> str:
    """Format progress in at most STEPS_WIDTH cells: '820/1,200', '12k/120k', '41' if the end is unknown."""
    if not planned:
        return _short(done) if done else ""
    whole = f"{done:,}/{planned:,}"
    return whole if len(whole) <= STEPS_WIDTH else f"{_short(done)}/{_short(planned)}"


def _short(number: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if number >= size * 10:
            return f"{number // size:,}{unit}"
    return f"{number:,}"


def line_width(line: Line) -> int:
    """Return the width of a line in cells."""
    return sum(cell_len(text) for text, _ in line)


def cursor_mark(has_cursor: bool) -> Span:
    """Return the first cell of a row: the cursor, or a blank."""
    return CURSOR if has_cursor else (" ", "")


def cut_line(line: Line, width: int) -> Line:
    """Cut a line to `width` cells, at a span's end or within one."""
    kept: Line = ()
    for text, style in line:
        if (left := width - line_width(kept)) <= 0:
            break
        kept = (*kept, (cut_end(text, left), style))
    return kept


def joined(spans: Iterable[Span]) -> Line:
    """Merge neighbouring spans of one style."""
    line: list[Span] = []
    for text, style in spans:
        if line and line[-1][1] == style:
            line[-1] = (line[-1][0] + text, style)
        else:
            line.append((text, style))
    return tuple(line)


def spread(left: Line, right: Line, width: int) -> Line:
    """Put one line at the left edge and another at the right; the right one is dropped if both don't fit."""
    gap = width - line_width(left) - line_width(right)
    return (*left, (" " * gap, ""), *right) if gap >= 2 else left


def rule(title: Line, width: int, right: Line = ()) -> Line:
    """Return a rule across the width, with a title in it and text at its right end."""
    fill = width - 4 - line_width(title) - (line_width(right) + 1 if right else 0)
    if fill < 1:
        return rule(title, width) if right else (RULE, *title)
    end: Line = ((" ", ""), *right) if right else ()
    return (RULE, *title, (" " + "─" * fill, "faint"), *end)


def wrapped(text: str, width: int, rows: int | None = None, *, limit: int = SHOWN_BYTES) -> list[str]:
    """Clean a text and wrap it into rows of at most `width` cells; a text cut to `rows` ends with ….

    A line of the text is cut at `limit` bytes.
    """
    width = max(1, width)
    lines: list[str] = []
    for paragraph in clean(text, limit=limit).replace("\t", "    ").split("\n"):
        lines += _broken(paragraph, width)
        if rows is not None and len(lines) > rows:
            break
    if rows is not None and len(lines) > rows:
        lines = [*lines[: rows - 1], _going_on(lines[rows - 1], width)] if rows > 0 else []
    return lines


def _going_on(row: str, width: int) -> str:
    """End a row with …, after a blank if it ends in a number, never cutting a number in two."""
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


def in_view(lines: list[Line], top: int, height: int, keep: int | None = None) -> tuple[int, list[Line], str]:
    """Return the first row in view, from `top` on and with `keep` in it, the lines, and their place: `1-9 of 20`."""
    last = max(0, len(lines) - height)
    top = min(top, last)
    if keep is not None:
        top = min(max(top, keep - height + 1), keep)
    where = f"{top + 1}-{min(len(lines), top + height)} of {len(lines)}" if last else ""
    return top, lines[top : top + height], where


def labelled(
    label: str, text: str, width: int, *, cells: int, rows: int | None = None, style: StyleName = ""
) -> list[Line]:
    """Wrap a text into rows beside its label, which is `cells` wide and shown only in the first row."""
    return [
        ((f" {label if not at else '':<{cells - 1}}", "dim"), (row, style))
        for at, row in enumerate(wrapped(text, width - cells - 1, rows))
    ]


def paragraph(
    text: str, width: int, rows: int | None = None, *, indent: int = 1, style: StyleName = ""
) -> list[Line]:
    """Wrap a text into rows indented by `indent` blanks, with one free cell at the right."""
    return [((" " * indent + row, style),) for row in wrapped(text, width - indent - 1, rows)]
