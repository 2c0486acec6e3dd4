"""What is kept of all rows: in memory while it is small, then in a temporary file."""

from __future__ import annotations

import os
import tempfile
from array import array
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from finetop.core.errors import EnvironmentTrouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.data.similarity.word_codes import Codes

IN_MEMORY: Final = 128 * 2**20  # bytes: 100,000 rows of 300 words
ON_DISK: Final = "/var/tmp"  # unless TMPDIR is set: /tmp is in memory on many machines
BLOCK: Final = 1000  # texts read at once


def disk_folder() -> str:
    """Return the folder for files that may become large."""
    return os.environ.get("TMPDIR") or (ON_DISK if Path(ON_DISK).is_dir() else tempfile.gettempdir())


def _spooled(share: float = 1.0) -> tempfile.SpooledTemporaryFile[bytes]:
    return tempfile.SpooledTemporaryFile(int(share * IN_MEMORY), prefix="finetop-words-", dir=disk_folder())


def _write(file: tempfile.SpooledTemporaryFile[bytes], data: bytes) -> None:
    """Append data. Raises EnvironmentTrouble if the disk is full, or the file can't be written."""
    try:
        file.write(data)
    except OSError as error:
        raise EnvironmentTrouble(
            f"{disk_folder()}: {error.strerror}. Row fingerprints for the comparison are written there.",
            hint="Make room, or name another folder: TMPDIR=FOLDER.",
        ) from error


class Table:
    """Rows of `width` numbers each, numbered from 0; all must be added before any is read."""

    def __init__(self, width: int) -> None:
        self._file = _spooled(0.25)
        self._width = width

    def __del__(self) -> None:
        self._file.close()

    def add(self, rows: NDArray[np.uint32]) -> None:
        """Add some rows."""
        _write(self._file, rows.tobytes())

    def some(self, numbers: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return some rows."""
        given = np.empty((len(numbers), self._width), np.uint32)
        size = given.itemsize * self._width
        for place, number in enumerate(numbers.tolist()):
            self._file.seek(number * size)
            given[place] = np.frombuffer(self._file.read(size), np.uint32)
        return given


class Store:
    """Texts as codes, numbered from 0 in the order of adding; `share` of IN_MEMORY of them stay in memory."""

    def __init__(self, share: float = 1.0) -> None:
        self._file = _spooled(share)
        self._ends = array("Q", [0])

    def __del__(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, codes: bytes) -> None:
        """Add a text."""
        _write(self._file, codes)
        self._ends.append(self._ends[-1] + len(codes))

    def __getitem__(self, number: int) -> Codes:
        begin, end = self._ends[number], self._ends[number + 1]
        self._file.seek(begin)
        return np.frombuffer(self._file.read(end - begin), np.uint32)

    def blocks(self) -> Iterator[tuple[int, list[Codes]]]:
        """Yield all texts in order, in blocks, each with the number of its first text."""
        for first in range(0, len(self), BLOCK):
            ends = self._ends[first : first + BLOCK + 1]
            self._file.seek(ends[0])
            whole = np.frombuffer(self._file.read(ends[-1] - ends[0]), np.uint32)
            bounds = [(end - ends[0]) // 4 for end in ends]
            yield first, [whole[a:b] for a, b in pairwise(bounds)]
