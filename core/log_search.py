"""Finds lines in a job's log on the disk, a part at a time: those that have a text, or the first of a step."""

from __future__ import annotations

import os
import re
from collections import deque
from typing import NamedTuple

LONGEST_LINE = 1 << 16  # bytes
SMALL = 1 << 14  # bytes that are read to see a step
_STEP = re.compile(rb"(?:^|[\n\0])step (\d{1,12})[/:]")


class Found(NamedTuple):
    """Where lines begin that have a text, in a part of a log; `begin` and `size` say which part, and of how much."""

    at: list[int]
    begin: int
    size: int


def find(descriptor: int, text: str, begin: int, end: int, most: int) -> Found:
    """Find the lines that begin in a part of a log and have a text; ASCII letters of either case are the same.

    Of more than `most` the last are given, and the part begins with them. A negative `end` is the log's. Of a line only
    its first LONGEST_LINE bytes behind the part are looked at.
    """
    size = os.fstat(descriptor).st_size
    end = size if end < 0 else min(end, size)
    begin = min(max(0, begin), end)
    start = max(0, begin - 1)  # with the end of the line before, if it ends here
    raw = os.pread(descriptor, end - start + LONGEST_LINE, start).lower()
    wanted = text.encode("utf-8", "replace").lower()
    found: deque[int] = deque(maxlen=most)
    is_full, passed = False, 0
    at = raw.find(wanted) if wanted else -1
    while at >= 0:
        line = max(raw.rfind(b"\n", passed, at), raw.rfind(b"\0", passed, at)) + 1
        if start + line >= end:
            break
        if start + line >= begin:
            is_full = is_full or len(found) == most
            found.append(start + line)
        passed = raw.find(b"\n", at)
        at = raw.find(wanted, passed) if passed >= 0 else -1
    return Found(list(found), found[0] if is_full else begin, size)


def find_step(descriptor: int, step: int) -> Found:
    """Find the first line of a step or of one behind it, as the trainer writes them: `step 820/1200: …`.

    The steps of a log only grow: it is halved until what is left is small.
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
    return Found(behind[:1] or last, low, size)


def _steps_of(descriptor: int, begin: int, length: int) -> list[tuple[int, int]]:
    """Read the steps that a part of a log names, each with the place of its line."""
    raw = os.pread(descriptor, length, begin)
    return [(int(found[1]), begin + found.start(1) - len(b"step ")) for found in _STEP.finditer(raw)]
