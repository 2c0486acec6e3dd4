"""A sample of a source's rows for fast answers: the whole of a small file, lines from all over a large one.

core/data/sources.py reads them as in a job, so that the same rows are invalid here and there.
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

WHOLE_BYTES = 32 << 20  # files up to this size are read whole: 0.5 s
PACKED_BYTES = WHOLE_BYTES // 8  # the same for a compressed or Parquet file
PLACES, PLACE_BYTES = 64, 96 << 10  # places in a larger file, and what is read at each
FIRST = 20_000  # rows read of a larger file without lines to jump to


@dataclass(frozen=True, slots=True)
class Part:
    """Rows, and the number of rows in the source; `variance` is of that number if it is estimated."""

    rows: list[Row]
    of: float
    variance: float = 0.0


def read(source: Source, home: Home, kinds: Sequence[Kind]) -> Part:
    """Read a source on this machine, or a sample of its rows. Raises BadInput as in a job."""
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
    variance = 0.0 if is_exact else (of / 10) ** 2
    return Part(rows, of if source.rows is None else min(of, source.rows), variance)


def _is_small(path: Path) -> bool:
    names = [file.name for file in files.listed(path)]
    dense = any(name.endswith(files.PACKED) or files.type_of(name) == "parquet" for name in names)
    return files.facts_of(path).size <= (PACKED_BYTES if dense else WHOLE_BYTES)


def _lines(source: Source, path: Path, size: int, home: Home, kinds: Sequence[Kind]) -> Part:
    """Read lines after evenly spaced places of a file, including the first line."""
    starts: list[int] = []
    lines: list[bytes] = []
    with files.open_file(path) as file:
        for place in range(PLACES):
            file.seek(place * (size // PLACES))
            if place:
                file.readline(files.ROW_BYTES)  # skip the rest of a line
            end = file.tell() + PLACE_BYTES
            while (at := file.tell()) < end and (line := file.readline(files.ROW_BYTES + 1)):
                if line.strip():
                    starts.append(at)
                    lines.append(line)
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder) / path.name
        aside.write_bytes(b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines))
        try:
            sampled_rows = list(
                sources.stream(structs.replace(source, path=str(aside), rows=None), home, kinds)
            )
        except BadInput as error:
            raise type(error)(_with_offset(error.message, path.name, starts), hint=error.hint) from error
    rows = [replace(row, place=_with_offset(row.place, path.name, starts)) for row in sampled_rows]
    sizes = [len(line) for line in lines]
    mean = statistics.mean(sizes)
    of = size / mean
    spread = statistics.pstdev(sizes) / mean
    variance = of**2 * spread**2 / PLACES  # neighbouring lines are often alike
    if source.rows is not None and of > source.rows:
        return Part(rows, source.rows)
    return Part(rows, max(of, len(rows)), variance)


def _with_offset(text: str, name: str, starts: Sequence[int]) -> str:
    """Replace a line's number in the sample by its byte offset in the file."""
    match = re.match(re.escape(name) + r":(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= len(starts):
        return text
    return f"{name}, at byte {starts[int(match[1]) - 1]:,}{text[match.end() :]}"
