"""New lines of a file that another program appends to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_BYTES = 4 << 20  # of one read: a program may print 1 GB/s
LONGEST = 1 << 20  # bytes of a line; a longer one is skipped


@dataclass
class Tail:
    """Reads a growing file from `offset`; a file that was cut or replaced is read from its start."""

    path: Path
    offset: int = 0
    restarted: bool = False  # since the caller last cleared it
    _inode: int = 0
    _rest: bytes = field(default=b"", repr=False)  # the beginning of a line
    _skips: bool = False  # inside a line that is too long

    def lines(self) -> Iterator[str]:
        """Yield the whole lines that are new, and the last state of a line that overwrites itself. Raises OSError."""
        with self.path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if self._inode and (facts.st_ino != self._inode or facts.st_size < self.offset):
                self.offset, self._rest, self.restarted = 0, b"", True
            self._inode = facts.st_ino
            if facts.st_size - self.offset > MOST_BYTES:  # a flood: what is older is left out
                self.offset, self._rest, self._skips = facts.st_size - MOST_BYTES, b"", True
            raw = os.pread(file.fileno(), MOST_BYTES, self.offset)
        self.offset += len(raw)
        *whole, rest = raw.replace(b"\r", b"\n").split(b"\n")
        for number, line in enumerate([*whole]):
            begins = self._rest if number == 0 else b""
            if self._skips:
                self._skips = False
            elif len(begins) + len(line) <= LONGEST:
                yield (begins + line).decode("utf-8", "replace")
        self._rest = (b"" if whole else self._rest) + rest
        if len(self._rest) > LONGEST:
            self._rest, self._skips = b"", True
