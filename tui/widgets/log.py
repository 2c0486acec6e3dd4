"""The end of a job's log: what was read of it so far, in bounded memory, and which of its rows are in view."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from finetop.core.protocol.messages.runs import LogAnswer, ReadLog
from finetop.core.runtime import log_file
from finetop.core.text import clean_line
from finetop.tui.text import Line, wrapped
from finetop.tui.theme import StyleName

LINES = 3000  # kept at most
FIRST_BYTES = 1 << 16  # of the end, when a log is opened
PIECE_BYTES = 1 << 18  # of one later request; a reader further behind skips to the end
_LONGEST = 8192  # characters of an unfinished line

_ALARM: Final = re.compile(r"alarm: |warning", re.IGNORECASE)
_ERROR: Final = re.compile(r"[\w.]*(?:Error|Exception)\b")


@dataclass(frozen=True, slots=True)
class Tail:
    """The lines held of a log: clean, without line ends. `open` is the raw text of an unfinished one."""

    lines: tuple[str, ...] = ()
    dropped: int = 0  # lines that were held before and dropped
    open: str = ""
    offset: int | None = None  # bytes read; None before the first piece
    begin: int = 0  # where the first line held begins, in bytes

    @property
    def end(self) -> int:
        """Return the number after the last line, counted from the first that was ever held."""
        return self.dropped + len(self.shown)

    @property
    def shown(self) -> tuple[str, ...]:
        """Return the lines, with an unfinished one as the last."""
        last = shown_line(self.open)
        return (*self.lines, last) if last else self.lines


EMPTY: Final = Tail()


def request(tail: Tail, run: str, job: int | None) -> ReadLog:
    """Return the request for what is new; at first for the end of the log."""
    if tail.offset is None:
        return ReadLog(run, job, -FIRST_BYTES, FIRST_BYTES)
    return ReadLog(run, job, tail.offset, PIECE_BYTES)


def fed(tail: Tail, answer: LogAnswer) -> Tail:
    """Add a piece. Progress bars (carriage returns) show their newest state; a log that shrank starts over."""
    if tail.offset is not None and answer.size < tail.offset:
        return Tail(dropped=tail.end)
    if answer.gap and tail.offset is not None:
        tail = _with_gap(tail, log_file.words_for(answer.gap))
    text, begin = answer.text, tail.begin
    if tail.offset is None and answer.size > FIRST_BYTES and "\n" in text:
        text = text.partition("\n")[2]  # the first line was cut
        begin = answer.next - len(text.encode("utf-8", "replace"))
    *whole, rest = (tail.open + text).split("\n")
    lines = (*tail.lines, *(shown_line(line) for line in whole))
    return _bounded(lines, tail.dropped, log_file.newest(rest)[:_LONGEST], answer.next, begin)


def skipped(tail: Tail, answer: LogAnswer) -> Tail:
    """Skip to the end of a log that grows faster than it is read; a line marks the gap."""
    offset = answer.size - FIRST_BYTES
    if offset - answer.next <= PIECE_BYTES:
        return tail
    words = log_file.words_for(offset - answer.next, "skipped: the log grows faster than it can be shown")
    return replace(_with_gap(tail, words), offset=offset)


def _with_gap(tail: Tail, words: str) -> Tail:
    return _bounded((*tail.shown, words), tail.dropped, "", tail.offset, tail.begin)


def _bounded(lines: tuple[str, ...], dropped: int, rest: str, offset: int | None, begin: int) -> Tail:
    surplus = max(0, len(lines) - LINES)
    begin += sum(len(line.encode("utf-8", "replace")) + 1 for line in lines[:surplus])
    return Tail(lines[surplus:], dropped + surplus, rest, offset, begin)


def shown_line(line: str) -> str:
    """Return a line as it is shown: clean, and the newest state of one that overwrites itself."""
    return clean_line(log_file.newest(line).rstrip("\r"))


def last_rows(tail: Tail, height: int) -> list[Line]:
    """Return the last lines, one per row."""
    shown = tail.shown
    last = shown[max(0, len(shown) - height) :] if height > 0 else ()
    return [((f" {line}", _style(line)),) for line in last]


def view(tail: Tail, width: int, height: int, first: int | None, sought: str = "") -> list[Line]:
    """Return the rows in view: from line number `first` on, or the end; long lines wrap, `sought` is highlighted."""
    shown = tail.shown
    rows: list[Line] = []
    if first is None:
        for line in reversed(shown):
            rows = [*drawn_rows(line, width, sought), *rows]
            if len(rows) >= height:
                break
        return rows[max(0, len(rows) - height) :] if height > 0 else []
    for line in shown[max(0, first - tail.dropped) :]:
        rows += drawn_rows(line, width, sought)
        if len(rows) >= height:
            break
    return rows[:height]


def scrolled(tail: Tail, first: int | None, by: int, height: int) -> int | None:
    """Return the line that the view starts with after scrolling; None if it is at the end, and follows it again."""
    last_first = max(tail.dropped, tail.end - height)
    at = (last_first if first is None else first) + by
    return None if at >= last_first else max(tail.dropped, at)


def drawn_rows(line: str, width: int, sought: str = "") -> list[Line]:
    """Wrap a line into rows, with its style; the searched text is highlighted in each."""
    style = _style(line)
    first, *more = wrapped(line, max(10, width - 4))
    rows = [f" {first}", *(f"   {row}" for row in more)]
    return [_marked(row, style, sought.casefold()) for row in rows]


def _marked(row: str, style: StyleName, sought: str) -> Line:
    spans: list[tuple[str, StyleName]] = []
    folded, at = row.casefold(), 0
    if sought and len(folded) == len(row):
        while (begin := folded.find(sought, at)) >= 0:
            end = begin + len(sought)
            spans += [(row[at:begin], style), (row[begin:end], "reverse")]
            at = end
    return tuple(span for span in (*spans, (row[at:], style)) if span[0])


def _style(line: str) -> StyleName:
    if _ERROR.match(line):
        return "red"
    return "amber" if _ALARM.match(line) else ""
