"""Reads the lines of sources in blocks, whatever is wrong with some of them, and reads some once more by number."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.data import source_record, sources
from finetop.core.data.jsonl import MAX_LINE_BYTES, open_file
from finetop.core.errors import BadData, BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from finetop.core.preflight.lint.report import SourceRole
    from finetop.core.recipe.schema import Source
    from finetop.core.runtime.home import Home

BLOCK_ROWS = 256
BLOCK_BYTES = 2 << 20
LONGEST_LINE = 256 << 20  # bytes; what is longer than a row may be is passed over, but not for ever
_BOM = b"\xef\xbb\xbf"


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Rows that lie one after another. `lines` has None for one that is too long; `numbers` are theirs, from 1."""

    source: int
    at: int  # number of the first row, over all sources
    format: str | None
    numbers: list[int]
    lines: list[bytes | None]


@dataclass(slots=True)
class Read:
    """A source while it is read: where its blocks begin, so that any row is found again."""

    source: Source
    role: SourceRole
    name: str
    format: str | None = None
    rows: int = 0
    bytes: int = 0
    sha256: str = ""  # of the whole file; none where it was not read whole
    most: int | None = None  # rows that are looked at
    is_cut: bool = False  # there may be more of them
    starts: list[tuple[int, int, int]] = field(
        default_factory=list
    )  # row number, line number, byte of each block


def opened(source: Source, role: SourceRole, most: int | None = None) -> Read:
    """Begin with a source, of which `most` rows are looked at. Raises BadInput for a file that is not there."""
    if source.path is not None:
        open_file(Path(source.path)).close()
    return Read(source, role, source_record.name_of(source), most=most)


def size_of(read: Read) -> int:
    """Bytes of a source's file; 0 where it is none."""
    return Path(read.source.path).stat().st_size if read.source.path is not None else 0


def blocks(
    read: Read, number: int, at: int, home: Home, detect: Callable[[list[bytes | None]], str | None]
) -> Iterator[Block]:
    """Yield all rows of a source; `at` is the number of its first. Blank lines are passed over. Raises BadInput."""
    given = _file_lines(read) if read.source.path is not None else _set_rows(read, home)
    most = min(filter(None, (read.source.rows, read.most)), default=None)
    numbers: list[int] = []
    lines: list[bytes | None] = []
    size = 0
    start: tuple[int, int] | None = None
    for line_number, offset, line in given:
        if start is None:
            start = (line_number, offset)
        numbers.append(line_number)
        lines.append(line)
        size += len(line or b"")
        is_last = most is not None and read.rows + len(lines) >= most
        if len(lines) >= BLOCK_ROWS or size >= BLOCK_BYTES or is_last:
            yield _block(read, number, at, start, numbers, lines, detect)
            numbers, lines, size, start = [], [], 0, None
        if is_last:
            read.is_cut = most != read.source.rows
            break
    if lines and start is not None:
        yield _block(read, number, at, start, numbers, lines, detect)
    if not read.rows:
        raise BadData(f"{read.name}: has no rows.", hint="Write one JSON object a line.")


def _block(
    read: Read,
    number: int,
    at: int,
    start: tuple[int, int],
    numbers: list[int],
    lines: list[bytes | None],
    detect: Callable[[list[bytes | None]], str | None],
) -> Block:
    if read.format is None:
        read.format = detect(lines)
    block = Block(number, at + read.rows, read.format, numbers, lines)
    read.starts.append((block.at, *start))
    read.rows += len(lines)
    return block


def _file_lines(read: Read) -> Iterator[tuple[int, int, bytes | None]]:
    whole = hashlib.sha256()
    number = offset = 0
    with open_file(Path(str(read.source.path))) as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            begin, kept = offset, line
            offset += len(line)
            whole.update(line)
            is_long = len(line) > MAX_LINE_BYTES
            while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):  # pass over the rest of it
                line = file.readline(MAX_LINE_BYTES + 1)
                offset += len(line)
                whole.update(line)
                if offset - begin > LONGEST_LINE:
                    raise BadData(
                        f"{read.name}:{number}: the line goes on for more than {LONGEST_LINE >> 20} MiB.",
                        hint="Write one JSON object a line.",
                    )
            read.bytes = offset
            if number == 1:
                kept = kept.removeprefix(_BOM)
            if is_long:
                yield number, begin, None
            elif kept.strip():
                yield number, begin, kept
    read.sha256 = whole.hexdigest()


def _set_rows(read: Read, home: Home) -> Iterator[tuple[int, int, bytes]]:
    """Rows of a `datasets` data set, as JSON lines; what JSON can't hold is written as text."""
    for number, row in enumerate(sources.rows_of(read.source, home), start=1):
        line = msgspec.json.encode(row, enc_hook=str)
        read.bytes += len(line)
        yield number, number - 1, line


def decoded(line: bytes | None) -> dict[str, Any] | str:
    """Read a line as a JSON object, or say why it is none."""
    if line is None:
        return f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB"
    try:
        raw = msgspec.json.decode(line)
    except UnicodeDecodeError:
        return "is not UTF-8 text"
    except RecursionError:
        return "is nested too deeply"
    except msgspec.MsgspecError as error:
        return f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}"
    if isinstance(raw, dict):
        return raw
    return "is a list, not an object" if isinstance(raw, list) else "is a single value, not an object"


def block_again(read: Read, number: int, index: int, home: Home) -> Block:
    """Read one block once more, by its place in `read.starts`. Raises BadInput if the file has changed."""
    at, line_number, offset = read.starts[index]
    end = read.starts[index + 1][0] if index + 1 < len(read.starts) else read.starts[0][0] + read.rows
    numbers: list[int] = []
    lines: list[bytes | None] = []
    if read.source.path is None:
        for row_number, _, line in _set_rows(Read(read.source, read.role, read.name), home):
            if row_number > offset:
                numbers.append(row_number)
                lines.append(line)
            if len(lines) == end - at:
                break
        return Block(number, at, read.format, numbers, lines)
    with open_file(Path(read.source.path)) as file:
        file.seek(offset)
        while len(lines) < end - at and (line := file.readline(MAX_LINE_BYTES + 1)):
            if len(line) > MAX_LINE_BYTES:
                lines.append(None)
                numbers.append(line_number)
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES + 1)
            else:
                line = line.removeprefix(_BOM) if line_number == 1 else line
                if line.strip():
                    lines.append(line)
                    numbers.append(line_number)
            line_number += 1
    if len(lines) != end - at:
        raise BadInput(f"{read.name}: it was changed while it was read.", hint="Lint it again.")
    return Block(number, at, read.format, numbers, lines)
