"""New lines of a file that another program appends to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from finetop.core.external.sources import Before
from finetop.core.runtime.files import open_regular
from finetop.core.runtime.log_file import next_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_BYTES = 4 << 20  # of one read
LONGEST = 1 << 20  # bytes of a line; a longer one is skipped
MARK = 64  # bytes before the offset that must still be there: else the file was rewritten


@dataclass
class Tail:
    """Reads a growing file from `offset`; a file that was cut, replaced or rewritten is read from its start."""

    path: Path
    offset: int = 0
    # bytes; in a file that grows faster than it is read, older ones are passed over, and counted; 0: never
    most_behind: int = 0
    most: int = 0  # bytes of one read, if fewer than MOST_BYTES
    restarted: bool = False  # since the caller last cleared it
    behind: bool = False  # there is more to read
    left: int = 0  # bytes that are not read yet
    passed_over: int = 0  # bytes
    _facts: tuple[int, int, int] = (0, 0, 0)  # inode, size and modification time at the last read
    _mark: bytes = field(default=b"", repr=False)
    _rest: bytes = field(default=b"", repr=False)  # the beginning of a line
    _skips: bool = False  # inside a line that is too long
    _redraws: bool = False  # a carriage return ended the last whole line
    _before: bytes = field(default=b"", repr=False)  # that line
    _taken: bytes = field(default=b"", repr=False)  # of it, read before its end

    def go_behind(self, before: Before | None) -> bool:
        """Begin behind what an earlier run left in the file. Return whether it is still there.

        The same size at a later time means that the same was written once more: nothing was appended.
        """
        try:
            stat = self.path.stat()
        except OSError:
            return False  # it has gone
        if before is None:
            return False
        is_same_size = (stat.st_ino, stat.st_size) == (before.inode, before.size)
        if is_same_size and stat.st_mtime_ns != before.written_ns:
            return False
        self.offset, self._mark, self._facts = before.size, before.end, (before.inode, 0, 0)
        return True

    def lines(self) -> Iterator[str]:
        """Yield the whole lines that are new, and the last state of a line that overwrites itself. Raises OSError."""
        raw = self._new_bytes()
        *whole, rest = raw.replace(b"\r", b"\n").split(b"\n")
        begins = self._rest
        if whole:
            end = raw[: len(raw) - len(rest)]
            self._redraws, self._before = end.endswith(b"\r"), whole[-1][-LONGEST:]
        self._rest = (b"" if whole else self._rest) + rest
        for line in whole:
            if self._skips:
                self._skips = False
            elif len(begins) + len(line) <= LONGEST and not (self._taken and begins + line == self._taken):
                yield (begins + line).decode("utf-8", "replace")
            self._taken = b""
            begins = b""
        if len(self._rest) > LONGEST:
            self._rest, self._skips = b"", True

    @property
    def redrawn(self) -> str:
        """What stands behind a carriage return: a line that overwrites itself, and is whole without an end."""
        ends_alike = self._rest[-1:] == self._before[-1:] and not self._rest[-1:].isalnum()
        if not self._redraws or not (ends_alike or len(self._rest) >= len(self._before) - 1):
            return ""  # it may be half written
        return self._rest.decode("utf-8", "replace")

    def take_redrawn(self) -> bool:
        """Take the line that overwrites itself as read; return False if it was."""
        if self._taken == self._rest:
            return False
        self._taken = self._rest
        return True

    def _new_bytes(self) -> bytes:
        most = min(self.most or MOST_BYTES, MOST_BYTES)
        stat = self.path.stat()
        facts = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if facts == self._facts and not self.behind:
            return b""
        with open_regular(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            is_replaced = facts[0] != (self._facts[0] or facts[0])
            raw = self._from_mark(
                file.fileno(), size, most, has_holes=bool(self.most_behind and not is_replaced)
            )
            if is_replaced or size < self.offset or not raw.startswith(self._mark):
                self._begin(0)
                self.restarted = True
                raw = os.pread(file.fileno(), most, 0)
            if self.most_behind and size - self.offset > self.most_behind:
                self.passed_over += size - MOST_BYTES - self.offset
                self._begin(size - MOST_BYTES)
                self._skips = True
                raw = os.pread(file.fileno(), most, self.offset)
        new = raw[len(self._mark) :]
        self._facts, self._mark = facts, raw[-MARK:]
        self.offset += len(new)
        self.behind, self.left = self.offset < size, size - self.offset
        return new

    def _from_mark(self, file: int, size: int, most: int, *, has_holes: bool) -> bytes:
        """Read from the mark on; what was dropped of a log that grew too long is passed over, and counted."""
        while True:
            begins = self.offset - len(self._mark)
            raw = os.pread(file, most + len(self._mark), begins)
            end = begins + len(raw)
            hole = next_place(os.SEEK_HOLE, file, begins, end, otherwise=end) if has_holes else end
            if hole > self.offset or hole == end:
                return raw[: hole - begins]
            data = next_place(os.SEEK_DATA, file, hole, size, otherwise=size)
            if data > self.offset:
                self.passed_over += data - self.offset
                self._begin(data)
                self._skips = True
            self._mark = b""

    def _begin(self, offset: int) -> None:
        self.offset, self._mark, self._rest, self._skips = offset, b"", b"", False


def before_of(path: Path) -> Before:
    """Describe a file as it is now. Raises OSError."""
    with open_regular(path) as file:
        facts = os.fstat(file.fileno())
        end = os.pread(file.fileno(), MARK, max(0, facts.st_size - MARK))
    return Before(facts.st_ino, facts.st_size, facts.st_mtime_ns, end)
