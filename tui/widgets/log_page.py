"""A part of a job's log around a place in it: its lines and where each begins, in bytes. Its size is bounded."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from finetop.core.protocol.messages.runs import LogAnswer, ReadLog
from finetop.core.runtime import log_file
from finetop.tui.text import CURSOR, Line
from finetop.tui.widgets.log import drawn_rows, shown_line

HALF: Final = 1 << 15  # bytes held on each side of the place


@dataclass(frozen=True, slots=True)
class Page:
    """Lines of a log around a place, clean; `begins` are their offsets, `end` follows the last, `size` is the log's."""

    lines: tuple[str, ...]
    begins: tuple[int, ...]
    end: int
    size: int
    around: int


def requests(run: str, job: int | None, at: int) -> tuple[ReadLog, ReadLog]:
    """Return the requests for what precedes a line at a place, and for that line with what follows."""
    begin = max(0, at - HALF)
    return ReadLog(run, job, begin, at - begin), ReadLog(run, job, at, HALF)


def page_of(before: LogAnswer, behind: LogAnswer, at: int) -> Page:
    """Join the two parts; a line whose beginning is cut off is left out."""
    begin = max(0, at - HALF)
    placed, _ = _placed(before.text.split("\n")[:-1] if at else [], begin)
    if begin:
        placed = placed[1:]
    if behind.gap:
        placed.append((log_file.words_for(behind.gap), at))
    *whole, rest = behind.text.split("\n")
    if behind.next >= behind.size and rest:
        whole.append(rest)
    more, end = _placed(whole, at + behind.gap)
    placed += more
    return Page(tuple(line for line, _ in placed), tuple(place for _, place in placed), end, behind.size, at)


def _placed(lines: Sequence[str], place: int) -> tuple[list[tuple[str, int]], int]:
    """Return raw lines as they are shown, each with the place where it begins, and the place after the last."""
    placed = []
    for raw in lines:
        placed.append((shown_line(raw), place))
        place += len(raw.encode("utf-8", "replace")) + 1
    return placed, place


def index_of(page: Page, at: int) -> int:
    """Return the line that begins at a place, or the next one after it."""
    return min(bisect_left(page.begins, at), max(0, len(page.lines) - 1))


def view(
    page: Page, at: int, width: int, height: int, sought: str = "", mark: int | None = None
) -> list[Line]:
    """Return the rows from a place on, at the end a full view; `sought` is highlighted, the line at `mark` marked."""
    index = index_of(page, at)
    rows: list[Line] = []
    for place in range(index, len(page.lines)):
        rows += _rows(page, place, width, sought, mark)
        if len(rows) >= height:
            return rows[: max(0, height)]
    if page.end >= page.size:
        for place in range(index - 1, -1, -1):
            rows = [*_rows(page, place, width, sought, mark), *rows]
            if len(rows) >= height:
                return rows[len(rows) - height :]
    return rows


def _rows(page: Page, place: int, width: int, sought: str, mark: int | None) -> list[Line]:
    first, *others = drawn_rows(page.lines[place], width, sought)
    if page.begins[place] == mark and first:
        (text, style), *spans = first
        first = (CURSOR, (text[1:], style), *spans)
    return [first, *others]


def scrolled(page: Page, at: int, by: int, height: int) -> int | None:
    """Return the place that the view begins at after scrolling; None at the log's end, which is followed then."""
    index = index_of(page, at) + by
    if page.end >= page.size and index >= len(page.lines) - height:
        return None
    if not page.begins:
        return at
    return page.begins[min(max(0, index), len(page.begins) - 1)]


def is_near_edge(page: Page, at: int, height: int) -> bool:
    """Return whether scrolling on would soon need more of the log."""
    if at == page.around:
        return False
    index = index_of(page, at)
    is_high = index < height and bool(page.begins) and page.begins[0] > 0
    return is_high or (index + 2 * height > len(page.lines) and page.end < page.size)


def place_before(places: list[int], at: int) -> int | None:
    """Return the nearest earlier place."""
    index = bisect_left(places, at)
    return places[index - 1] if index else None


def place_behind(places: list[int], at: int) -> int | None:
    """Return the nearest later place."""
    index = bisect_right(places, at)
    return places[index] if index < len(places) else None
