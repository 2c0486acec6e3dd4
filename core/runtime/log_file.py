"""A job's log on the disk: bounded while it is written, by a hole in its middle, and read around that hole.

A hole takes no room, and all offsets stay what they were: whoever writes or reads goes on as if nothing had been.
Standard library alone, and little of it: the keeper loads this.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import sys
from typing import NamedTuple

BLOCK = 4096
KEEP_SIZE, PUNCH_HOLE = 1, 2  # of linux/falloc.h


def bound(descriptor: int, limit: int) -> bool:
    """Let go of the middle of a log that takes more than `limit` bytes of the disk; a quarter and a half of that stay.

    Returns whether it did. Where the system can't make holes (not Linux, a file system without them), it is left.
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


class Piece(NamedTuple):
    """What was read of a log: from `begin` on, without what the hole took, to `next`."""

    text: str
    gap: int  # bytes that were let go, in front of the text
    next: int
    size: int


def read(descriptor: int, offset: int, limit: int) -> Piece:
    """Read a piece of a log; a negative offset counts from its end. A hole is passed over, and counted.

    No character is cut at the end of a piece, but for one that the writer has not finished.
    """
    size = os.fstat(descriptor).st_size
    start = max(0, size + offset) if offset < 0 else min(offset, size)
    begin = _data_from(descriptor, start, size)
    raw = os.pread(descriptor, _data_until(descriptor, begin, min(size, begin + limit)) - begin, begin)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(raw)
    held_back = len(decoder.getstate()[0])
    if held_back == len(raw):
        text, held_back = raw.decode("utf-8", "replace"), 0
    return Piece(text, begin - start, begin + len(raw) - held_back, size)


def _data_from(descriptor: int, offset: int, size: int) -> int:
    """Give the first place from here on that is not in a hole."""
    if offset >= size:
        return size
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError:  # a hole to the end, or a file system that knows of none
        return offset


def _data_until(descriptor: int, offset: int, end: int) -> int:
    """Give the place at which a hole begins, `end` at the latest."""
    if offset >= end:
        return end
    try:
        return min(end, os.lseek(descriptor, offset, os.SEEK_HOLE))
    except OSError:
        return end


def words_for(gap: int, what: str = "not kept: it grew too long") -> str:
    """Say that a part of a log is missing here."""
    return f"… {gap / 1e6:,.1f} MB of this log are {what} …"
