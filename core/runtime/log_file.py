"""A job's log on disk: limited by punching a hole in its middle, and read around that hole.

A hole takes no space, and all offsets stay valid: writers and readers continue as before. Few imports, standard library
only, because the keeper loads this.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import re
import sys
from collections import deque
from typing import NamedTuple

BLOCK = 4096
KEEP_SIZE, PUNCH_HOLE = 1, 2  # from linux/falloc.h


def bound(descriptor: int, limit: int) -> bool:
    """Drop the middle of a log over `limit` bytes of disk; a quarter of that stays at the start, half at the end.

    Return whether it did: not if the system can't punch holes (not Linux, or not supported by the file system).
    """
    facts = os.fstat(descriptor)
    if facts.st_blocks * 512 <= limit or sys.platform != "linux":
        return False
    begin = limit // 4 // BLOCK * BLOCK
    end = (facts.st_size - limit // 2) // BLOCK * BLOCK
    return end > begin and _punch(descriptor, begin, end - begin)


def _punch(descriptor: int, offset: int, length: int) -> bool:
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return int(fallocate(descriptor, KEEP_SIZE | PUNCH_HOLE, offset, length)) == 0


def newest(line: str) -> str:
    """Return the last state of a line that overwrites itself (a progress bar), with its final carriage return."""
    body = line.rstrip("\r")
    return body.rpartition("\r")[2] + line[len(body) :][:1]


class Piece(NamedTuple):
    """A piece of a log: from `begin` to `next`, without the hole."""

    text: str
    gap: int  # dropped bytes before the text
    next: int
    size: int


def read(descriptor: int, offset: int, limit: int) -> Piece:
    """Read a piece of a log; a negative offset counts from the end. Holes are skipped and counted.

    No character is cut at the end of a piece, except one that the writer has not finished.
    """
    size = os.fstat(descriptor).st_size
    start = max(0, size + offset) if offset < 0 else min(offset, size)
    begin = next_place(os.SEEK_DATA, descriptor, start, size, otherwise=start)
    end = min(size, begin + limit)
    raw = os.pread(descriptor, next_place(os.SEEK_HOLE, descriptor, begin, end, otherwise=end) - begin, begin)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(raw)
    held_back = len(decoder.getstate()[0])
    if held_back == len(raw):
        text, held_back = raw.decode("utf-8", "replace"), 0
    return Piece(text, begin - start, begin + len(raw) - held_back, size)


def next_place(what: int, descriptor: int, offset: int, end: int, *, otherwise: int) -> int:
    """Return the first place from here on at which data or a hole begins, `end` at the latest."""
    if offset >= end:
        return end
    try:
        return min(end, os.lseek(descriptor, offset, what))
    except OSError:  # a hole to the end, or a file system without holes
        return otherwise


def words_for(gap: int, reason: str = "not kept: it grew too long") -> str:
    """Return a line that says that a part of a log is missing here."""
    return f"… {gap / 1e6:,.1f} MB of this log are {reason} …"


LONGEST_LINE = 1 << 16  # bytes
SMALL = 1 << 14  # bytes read to find a step
_STEP = re.compile(rb"(?:^|[\n\0])step (\d{1,12})[/:]")


class LogMatches(NamedTuple):
    """Starts of the lines in a part of a log that contain a text; `begin` and `size`: which part, of how much."""

    at: list[int]
    begin: int
    size: int


def find(descriptor: int, text: str, begin: int, end: int, most: int) -> LogMatches:
    """Find the lines that start in a part of a log and contain a text, ignoring the case of ASCII letters.

    If there are more than `most`, the last ones are returned, and `begin` moves to the first of these. A negative `end`
    is the log's end. Of a line that crosses the part's end, only LONGEST_LINE bytes more are searched.
    """
    size = os.fstat(descriptor).st_size
    end = size if end < 0 else min(end, size)
    begin = min(max(0, begin), end)
    start = max(0, begin - 1)  # including the newline of the line before, if it ends here
    raw = os.pread(descriptor, end - start + LONGEST_LINE, start).lower()
    needle = text.encode("utf-8", "replace").lower()
    line_starts: deque[int] = deque(maxlen=most)
    is_full, passed = False, 0
    at = raw.find(needle) if needle else -1
    while at >= 0:
        line = max(raw.rfind(b"\n", passed, at), raw.rfind(b"\0", passed, at)) + 1
        if start + line >= end:
            break
        if start + line >= begin:
            is_full = is_full or len(line_starts) == most
            line_starts.append(start + line)
        passed = raw.find(b"\n", at)
        at = raw.find(needle, passed) if passed >= 0 else -1
    return LogMatches(list(line_starts), line_starts[0] if is_full else begin, size)


def find_step(descriptor: int, step: int) -> LogMatches:
    """Find the first line of a step or a later one, as the trainer writes them: `step 820/1200: …`.

    The steps of a log only grow, so this is a binary search until the remaining part is small.
    """
    size = os.fstat(descriptor).st_size
    low, high = 0, size
    while high - low > SMALL:
        middle = (low + high) // 2
        lines = _steps_of(descriptor, middle, SMALL)
        if lines and lines[0][0] < step:
            low = middle
        else:
            high = middle
    lines = _steps_of(descriptor, low, high - low + 2 * SMALL)
    behind = [at for own, at in lines if own >= step]
    last = [at for _, at in lines[-1:]]
    return LogMatches(behind[:1] or last, low, size)


def _steps_of(descriptor: int, begin: int, length: int) -> list[tuple[int, int]]:
    """Return the steps named in a part of a log, each with the position of its line."""
    raw = os.pread(descriptor, length, begin)
    return [(int(match[1]), begin + match.start(1) - len(b"step ")) for match in _STEP.finditer(raw)]
