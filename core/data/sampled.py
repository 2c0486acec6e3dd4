"""Rows of a source for those who can't wait for all: the whole of a small file, lines from all over a large one.

They are read by core/data/sources.py as a job reads them, so that what is no row there is none here.
"""

from __future__ import annotations

import re
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from finetop.core.data import files, sources
from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.data.formats import Kind
    from finetop.core.data.sources import Row
    from finetop.core.recipe.schema import Source
    from finetop.core.runtime.home import Home

WHOLE_BYTES = 32 << 20  # a file that is read whole: 0.5 s
PACKED_BYTES = WHOLE_BYTES // 8  # the same of one that is packed, or of a Parquet file
PLACES, PLACE_BYTES = 64, 96 << 10  # in a larger one, and what is read at each
FIRST = 20_000  # rows of a larger file that has no lines to jump to


@dataclass(frozen=True, slots=True)
class Part:
    """Rows, of so many that the source has; `variance` is of that number where it is estimated."""

    rows: list[Row]
    of: float
    variance: float = 0.0


def read(source: Source, home: Home, kinds: Sequence[Kind]) -> Part:
    """Read a source that is on this machine, or rows from all over it. Raises BadInput as a job's reading."""
    path = None if source.path is None else Path(source.path)
    is_here = path is not None and files.is_there(path)
    if path is None or not is_here or _is_small(path) or (source.rows is not None and source.rows <= FIRST):
        rows = sources.read(source, home, kinds)
        return Part(rows, len(rows))
    if files.is_plain(path):
        return _lines(source, path, path.stat().st_size, home, kinds)
    most = FIRST if source.rows is None else min(FIRST, source.rows)
    rows = sources.read(structs.replace(source, rows=most), home, kinds)
    if len(rows) < most:
        return Part(rows, len(rows))
    of, is_exact = files.count_rows(path, most)
    of = max(float(len(rows)), of)
    return Part(
        rows, of if source.rows is None else min(of, source.rows), 0.0 if is_exact else (of / 10) ** 2
    )


def _is_small(path: Path) -> bool:
    names = [file.name for file in files.listed(path)]
    dense = any(name.endswith(files.PACKED) or files.type_of(name) == "parquet" for name in names)
    return files.facts_of(path).size <= (PACKED_BYTES if dense else WHOLE_BYTES)


def _lines(source: Source, path: Path, size: int, home: Home, kinds: Sequence[Kind]) -> Part:
    """Read the lines behind evenly spread places of a file, the first line among them."""
    starts: list[int] = []
    lines: list[bytes] = []
    with files.open_file(path) as file:
        for place in range(PLACES):
            file.seek(place * (size // PLACES))
            if place:
                file.readline(files.ROW_BYTES)  # the rest of a line
            end = file.tell() + PLACE_BYTES
            while (at := file.tell()) < end and (line := file.readline(files.ROW_BYTES + 1)):
                if line.strip():
                    starts.append(at)
                    lines.append(line)
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder) / path.name
        aside.write_bytes(b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines))
        try:
            found = sources.read(structs.replace(source, path=str(aside), rows=None), home, kinds)
        except BadInput as error:
            raise type(error)(_told(error.message, path.name, starts), hint=error.hint) from error
    rows = [replace(row, place=_told(row.place, path.name, starts)) for row in found]
    sizes = [len(line) for line in lines]
    mean = statistics.mean(sizes)
    of = size / mean
    spread = statistics.pstdev(sizes) / mean
    variance = of**2 * spread**2 / PLACES  # lines that stand together are often alike
    if source.rows is not None and of > source.rows:
        return Part(rows, source.rows)
    return Part(rows, max(of, len(rows)), variance)


def _told(words: str, name: str, starts: Sequence[int]) -> str:
    """Name a line by where it begins in the file, in place of its number among those that were read."""
    found = re.match(re.escape(name) + r":(\d+)", words)
    if found is None or not 1 <= int(found[1]) <= len(starts):
        return words
    return f"{name}, at byte {starts[int(found[1]) - 1]:,}{words[found.end() :]}"
