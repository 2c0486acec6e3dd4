"""Reads the rows of sources in blocks, even if some are faulty, and reads some again by number.

The lines of a plain .jsonl file are passed on unchanged, and read again at their offset in the file. All other rows
are written as JSON lines, with the names from the recipe's `columns`, and kept block by block in a temporary file that
deletes itself.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from finetop.core.data import files, source_record, sources
from finetop.core.data.files.jsonl import LONGEST_LINE, decode, is_utf8
from finetop.core.data.similarity.spill_file import disk_folder
from finetop.core.errors import BadData, BadInput, EnvironmentTrouble
from finetop.core.runtime.files import is_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from finetop.core.features.lint.report import SourceRole
    from finetop.core.recipe.schema import Source
    from finetop.core.runtime.home import Home

    Detect = Callable[["Sequence[bytes | Unread]"], str | None]

BLOCK_ROWS = 256
BLOCK_BYTES = 2 << 20
IN_MEMORY = 16 << 20  # bytes of blocks kept in memory; more go to disk
MAX_LINE_BYTES = files.ROW_BYTES
_BOM = b"\xef\xbb\xbf"


class Unread(msgspec.Struct, frozen=True, array_like=True):
    """A row without a readable line, and why."""

    why: str


TOO_LONG = Unread(f"the line is longer than {MAX_LINE_BYTES >> 20} MiB")


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive rows of one file, `name`. `numbers` are their row numbers, from 1."""

    source: int
    at: int  # number of the first row, over all sources
    format: str | None
    name: str
    numbers: list[int]
    lines: list[bytes | Unread]

    def place(self, index: int) -> str:
        """Return where one of the rows was written: faq.jsonl:17."""
        return f"{self.name}:{self.numbers[index]}"


@dataclass(slots=True)
class Read:
    """A source being read: where its blocks begin, so that any row can be found again."""

    source: Source
    role: SourceRole
    name: str
    format: str | None = None
    unused: tuple[str, ...] = ()  # keys of its first rows that training does not read
    rows: int = 0
    bytes: int = 0
    sha256: str = ""  # of the whole file; empty if it was not read whole
    most: int | None = None  # rows that are checked
    is_cut: bool = False  # there may be more rows
    # row number, line number, byte of each block, in the file or among those kept
    starts: list[tuple[int, int, int]] = field(default_factory=list)
    kept: BinaryIO | None = None  # the blocks of a source that is not a plain .jsonl file

    def __del__(self) -> None:
        if self.kept is not None:
            self.kept.close()

    @property
    def is_plain(self) -> bool:
        """Return whether the source is one .jsonl file whose lines are used unchanged."""
        return self.kept is None


def opened(source: Source, role: SourceRole, most: int | None = None) -> Read:
    """Open a source, of which `most` rows are checked. Raises BadInput if its file does not exist."""
    read = Read(source, role, source_record.name_of(source), most=most)
    if source.path is not None:
        files.require(Path(source.path))
    if source.path is None or source.columns or source.labels or not files.is_plain(Path(source.path)):
        read.kept = _file_of_blocks()
    return read


def _file_of_blocks() -> BinaryIO:
    folder = disk_folder()
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(IN_MEMORY, prefix="finetop-rows-", dir=folder))


def size_of(read: Read) -> int:
    """Return the bytes of a source's files; 0 if it has none."""
    return files.facts_of(Path(read.source.path)).size if read.source.path is not None else 0


def blocks(read: Read, number: int, at: int, home: Home, detect: Detect) -> Iterator[Block]:
    """Yield all rows of a source; `at` is the number of its first. Blank lines are skipped. Raises BadInput."""
    given = _file_lines(read) if read.is_plain else _made_lines(read, home)
    most = min(filter(None, (read.source.rows, read.most)), default=None)
    pending = _Pending()
    for name, line_number, offset, line in given:
        if pending.lines and name != pending.name:  # the next file of a folder
            yield _block(read, number, at, pending, detect)
            pending = _Pending()
        pending.add(name, line_number, offset, line)
        is_last = most is not None and read.rows + len(pending.lines) >= most
        if len(pending.lines) >= BLOCK_ROWS or pending.size >= BLOCK_BYTES or is_last:
            yield _block(read, number, at, pending, detect)
            pending = _Pending()
        if is_last:
            read.is_cut = most != read.source.rows
            break
    if pending.lines:
        yield _block(read, number, at, pending, detect)
    if not read.rows:
        raise BadData(f"{read.name}: has no rows.", hint="Write one JSON object a line.")


@dataclass(slots=True)
class _Pending:
    """The rows of the next block."""

    name: str = ""
    numbers: list[int] = field(default_factory=list)
    lines: list[bytes | Unread] = field(default_factory=list)
    offset: int = 0
    size: int = 0

    def add(self, name: str, number: int, offset: int, line: bytes | Unread) -> None:
        if not self.lines:
            self.name, self.offset = name, offset
        self.numbers.append(number)
        self.lines.append(line)
        self.size += len(line) if isinstance(line, bytes) else 0


def _block(read: Read, number: int, at: int, pending: _Pending, detect: Detect) -> Block:
    if read.format is None:
        read.format = detect(pending.lines)
    block = Block(number, at + read.rows, read.format, pending.name, pending.numbers, pending.lines)
    offset = pending.offset if read.kept is None else _keep(read.kept, block)
    read.starts.append((block.at, pending.numbers[0], offset))
    read.rows += len(pending.lines)
    return block


def _keep(file: BinaryIO, block: Block) -> int:
    """Append a block to those kept, and return its offset. Raises EnvironmentTrouble."""
    encoded = msgspec.msgpack.encode(block)
    at = file.seek(0, 2)
    try:
        file.write(len(encoded).to_bytes(4, "big") + encoded)
    except OSError as error:
        why = f"{error.strerror}. Rows that are not JSON lines are kept there while they are checked"
        hint = "Make room, or name another folder: TMPDIR=FOLDER."
        raise EnvironmentTrouble(f"{disk_folder()}: {why}.", hint=hint) from error
    return at


def _file_lines(read: Read) -> Iterator[tuple[str, int, int, bytes | Unread]]:
    whole = hashlib.sha256()
    number = offset = 0
    with files.open_file(Path(str(read.source.path))) as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            begin, kept = offset, line
            offset += len(line)
            whole.update(line)
            is_long = len(line) > MAX_LINE_BYTES
            while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):  # skip the rest of it
                line = file.readline(MAX_LINE_BYTES + 1)
                offset += len(line)
                whole.update(line)
                if offset - begin > LONGEST_LINE:
                    too_long = f"the line goes on for more than {LONGEST_LINE >> 20} MiB"
                    raise BadData(f"{read.name}:{number}: {too_long}.", hint="Write one JSON object a line.")
            read.bytes = offset
            if number == 1:
                kept = kept.removeprefix(_BOM)
            if is_long:
                yield read.name, number, begin, TOO_LONG
            elif kept.strip():
                yield read.name, number, begin, kept
    read.sha256 = whole.hexdigest()


def _made_lines(read: Read, home: Home) -> Iterator[tuple[str, int, int, bytes | Unread]]:
    """Yield rows of any other source as JSON lines; values that JSON can't hold are written as text."""
    for place, row in sources.entries(read.source, home):
        if isinstance(row, BadData):
            why = row.message.removeprefix(f"{place}: ").rstrip(".")
            line: bytes | Unread = TOO_LONG if "longer than" in why else Unread(why)
        else:
            line = msgspec.json.encode(row, enc_hook=str)
            read.bytes += len(line)
        yield _named(read, place.file), place.number, 0, line
    if read.source.path is not None:
        read.sha256 = source_record.sha256_of(Path(read.source.path))


def _named(read: Read, file: str) -> str:
    """Return a source file's name, or its path if another source has the same name."""
    if read.source.path is None or read.name == source_record.name_of(read.source):
        return file
    path = Path(read.source.path)
    return str((path.parent.parent if is_pattern(path) else path.parent) / file)


def decoded(line: bytes | Unread) -> dict[str, Any] | str:
    """Decode a line as a JSON object, or return why it is not one."""
    if isinstance(line, Unread):
        return line.why
    try:
        raw = decode(line)
    except RecursionError:
        return "is nested too deeply"
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if not is_utf8(line):
            return "is not UTF-8 text"
        return f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}"
    if isinstance(raw, dict):
        return raw
    return "is a list, not an object" if isinstance(raw, list) else "is a single value, not an object"


def block_again(read: Read, number: int, index: int) -> Block:
    """Read one block again, by its index in `read.starts`. Raises BadInput if the file has changed."""
    at, line_number, offset = read.starts[index]
    if read.kept is not None:
        read.kept.seek(offset)
        size = int.from_bytes(read.kept.read(4), "big")
        return msgspec.msgpack.decode(read.kept.read(size), type=Block)
    end = read.starts[index + 1][0] if index + 1 < len(read.starts) else read.starts[0][0] + read.rows
    numbers: list[int] = []
    lines: list[bytes | Unread] = []
    with files.open_file(Path(str(read.source.path))) as file:
        file.seek(offset)
        while len(lines) < end - at and (line := file.readline(MAX_LINE_BYTES + 1)):
            if len(line) > MAX_LINE_BYTES:
                lines.append(TOO_LONG)
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
        raise BadInput(f"{read.name}: changed while being read.", hint="Lint it again.")
    return Block(number, at, read.format, read.name, numbers, lines)
