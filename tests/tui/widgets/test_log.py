"""The log's tail: pieces cut anywhere give the same lines, progress bars show their newest state, memory is bounded."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st
from rich.cells import cell_len

from finetop.core.protocol.messages.runs import LogAnswer
from finetop.tui.text import wrapped
from finetop.tui.widgets import log
from finetop.tui.widgets.log import (
    EMPTY,
    FIRST_BYTES,
    PIECE_BYTES,
    Tail,
    fed,
    last_rows,
    scrolled,
    skipped,
    view,
)


def feed(tail: Tail, *pieces: str) -> Tail:
    """Feed a log to a tail in pieces, one request each."""
    for piece in pieces:
        offset = (tail.offset or 0) + len(piece.encode())
        tail = fed(tail, LogAnswer(12, piece, offset, offset))
    return tail


def numbered(count: int) -> Tail:
    return feed(EMPTY, "".join(f"line {at}\n" for at in range(count)))


def texts(rows: list[tuple[tuple[str, str], ...]]) -> list[str]:
    return ["".join(text for text, _ in row) for row in rows]


def test_what_is_asked_for_of_a_log_that_is_cut_or_shrank() -> None:
    assert log.request(EMPTY, "a", 12).offset == -FIRST_BYTES
    later = log.request(feed(EMPTY, "hello\n"), "a", 12)
    assert (later.offset, later.limit, later.job) == (6, PIECE_BYTES, 12)
    # the first line of a cut log is left out
    tail = fed(EMPTY, LogAnswer(12, "ut in half\nwhole\n", FIRST_BYTES * 3, FIRST_BYTES * 3))
    assert tail.shown == ("whole",)
    # a log that shrank starts anew
    tail = fed(numbered(5), LogAnswer(12, "", 3, 3))
    assert tail.offset is None and tail.shown == ()
    assert feed(tail, "new\n").shown == ("new",)
    # memory is bounded and numbers go on
    tail = numbered(log.LINES + 500)
    assert len(tail.lines) == log.LINES and tail.dropped == 500 and tail.end == log.LINES + 500
    assert tail.lines[0] == "line 500"
    # the end of a line longer than what is read first
    tail = fed(EMPTY, LogAnswer(12, "x" * FIRST_BYTES, 10**8, 10**8))
    assert tail.shown and len(tail.open) <= 8192


def test_lines_are_shown_as_they_come_and_a_progress_bar_once() -> None:
    tail = feed(EMPTY, "one\ntw")
    assert tail.shown == ("one", "tw")
    assert feed(tail, "o\nthree\n").shown == ("one", "two", "three")
    bar = feed(EMPTY, "loading\n", "\r 10%|#   |", "\r 50%|##  |", "\r100%|####|\n", "done\n")
    assert bar.shown == ("loading", "100%|####|", "done")
    assert feed(EMPTY, "10%\r", "20%\r").shown == ("20%",)
    assert feed(EMPTY, "10%\r", "20%\r\n", "next").shown == ("20%", "next")
    # a progress bar without end takes no memory
    tail = EMPTY
    for at in range(2000):
        tail = feed(tail, f"\r{at}" + "x" * 500)
    assert len(tail.open) < 1000 and tail.shown[0].startswith("1999")


def test_it_follows_the_end_until_it_is_scrolled_up() -> None:
    tail = numbered(100)
    assert texts(view(tail, 40, 3, None)) == [" line 97", " line 98", " line 99"]
    first = scrolled(tail, None, -10, 3)
    assert first == 87
    tail = feed(tail, "more\n" * 50)
    assert texts(view(tail, 40, 3, first)) == [" line 87", " line 88", " line 89"]  # nothing moves
    assert scrolled(tail, first, 1000, 3) is None  # at the end it follows again
    assert scrolled(tail, first, -1000, 3) == 0


def test_rows_go_on_are_marked_and_are_clean() -> None:
    rows = texts(view(feed(EMPTY, "word " * 30 + "\nshort\n"), 40, 10, 0))
    assert len(rows) > 4 and all(cell_len(row) <= 40 for row in rows)
    assert rows[-1] == " short" and rows[1].startswith("   word")
    # errors and alarms are marked
    rows = last_rows(feed(EMPTY, "fine\nalarm: step 3: drift\ntorch.OutOfMemoryError: CUDA\n"), 3)
    assert [row[0][1] for row in rows] == ["", "amber", "red"]
    assert last_rows(EMPTY, 0) == []
    # no control character gets through
    hostile = "a\x1b[2J\x1b]0;title\x07b\x9b31m\u202ec\x00d\te\n\x1b[?1049h"
    tail = feed(EMPTY, hostile)
    assert all(line.isprintable() for line in tail.shown)
    assert tail.shown[0] == "ab<202E>cd e"


LOGS = st.text(st.sampled_from("ab \r\n\t\x1b[mé漢"), max_size=60)


@settings(max_examples=200, deadline=None)
@given(log=LOGS, cuts=st.lists(st.integers(0, 60), max_size=5))
def test_any_cut_into_pieces_gives_the_same_lines(log: str, cuts: list[int]) -> None:
    places = sorted({0, *(min(cut, len(log)) for cut in cuts), len(log)})
    pieces = [log[a:b] for a, b in pairwise(places)]
    assert feed(EMPTY, *pieces).shown == feed(EMPTY, log).shown


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=120), width=st.integers(1, 30), rows=st.none() | st.integers(0, 4))
def test_wrapped_rows_fit(text: str, width: int, rows: int | None) -> None:
    lines = wrapped(text, width, rows)
    assert rows is None or len(lines) <= rows
    for line in lines:
        assert not any(unicodedata.category(letter) == "Cc" for letter in line)
        assert cell_len(line) <= max(width, 2)  # a letter of two cells can't be narrower


@pytest.mark.parametrize("width", [5, 20])
def test_wrapping_keeps_every_word(width: int) -> None:
    text = "the quick brown fox jumps\n\n  over the lazy dog"
    assert "".join(wrapped(text, width)).replace(" ", "") == text.replace(" ", "").replace("\n", "")


def test_what_is_missing_of_a_log_is_said_where_it_is_missing() -> None:
    tail = feed(EMPTY, "first\nhalf a li")
    tail = fed(tail, LogAnswer(12, "e\nlast\n", 9_000_000, 9_000_000, gap=8_400_000))
    gap = "… 8.4 MB of this log are not kept: it grew too long …"
    assert tail.shown == ("first", "half a li", gap, "e", "last")
    # who falls behind goes to the end
    tail = feed(EMPTY, "first\n")
    near = LogAnswer(12, "second\n", 13, 13 + PIECE_BYTES)
    assert skipped(fed(tail, near), near).offset == 13
    far = LogAnswer(12, "second\n", 13, 50_000_000)
    tail = skipped(fed(tail, far), far)
    assert tail.offset == 50_000_000 - FIRST_BYTES
    assert tail.shown[:2] == ("first", "second")
    assert "49.9 MB of this log are skipped" in tail.shown[2]
    assert feed(tail, "next\n").shown[-1] == "next"
