"""The content of rows: a hash of each, one over all in order, and the file of them in a run's folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.runtime.files import make_inside, write_whole

FOLDER = "data"  # in a run's folder
ROW_BYTES = 8  # of a hash: among 100,000 rows two collide once in 3,700 million such files
_CONTENT = re.compile(r"[0-9a-f]{64}")

_json = msgspec.json.Encoder(order="sorted", enc_hook=repr)  # the order of a row's keys does not matter


class Contents:
    """Hashes rows in their order. 3 microseconds for a row of 500 characters."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self.hashes = bytearray()

    def add(self, row: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(_json.encode(row)).digest()
        self._whole.update(digest)
        self.hashes += digest[:ROW_BYTES]

    @property
    def rows(self) -> int:
        return len(self.hashes) // ROW_BYTES

    @property
    def content(self) -> str:
        """The sha256 of all rows in their order."""
        return self._whole.hexdigest()


def file_of(run_folder: Path, content: str) -> Path | None:
    """Return where a run keeps the hashes of a source's rows. None for an invalid hash."""
    return run_folder / FOLDER / f"{content[:16]}.rows" if _CONTENT.fullmatch(content) else None


def keep(contents: Contents, run_folder: Path) -> None:
    """Write the hashes to a run's folder, unless they exist. A full disk loses only them, not the run."""
    file = file_of(run_folder, contents.content)
    assert file is not None
    if file.is_file() and file.stat().st_size == len(contents.hashes):
        return
    try:
        make_inside(file.parent, run_folder)
        write_whole(file, bytes(contents.hashes))
    except OSError as error:
        print(f"the row hashes could not be saved ({error.strerror}): runs can't be compared by rows")
