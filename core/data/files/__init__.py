"""Files of rows: a module for each file type, which ends with its instance of FileType, and one reader.

A path is a file, a folder whose files are of one type, or a pattern such as `data/*.csv`. Rows are streamed: a file of
any size takes the memory of a few rows.
"""

from __future__ import annotations

import gzip
import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from finetop.core.data.files import _text
from finetop.core.errors import BadData, BadInput, near
from finetop.core.plugins import Plugin, PluginKind
from finetop.core.runtime.files import is_pattern, open_given

Row = dict[str, Any]
Rows = Iterator[tuple[int, Row | BadData]]  # each with its line or number
ROW_BYTES = _text.MAX_BYTES
PACKED = ".gz"
USUAL = "jsonl"  # for a name without a known ending
_GZIP = b"\x1f\x8b"
_GZIP_BITS = 31  # zlib's number for gzip's frame around it
_PARQUET = b"PAR1"
_OURS = (".manifest.json", ".manifest.jsonl")  # by `finetop select` and `lint --fix`, beside their output
_SAVED = ("state.json", "dataset_dict.json")  # in a folder written by datasets' save_to_disk
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (  # of files without rows: what they are, how to fix it
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "Unpack it: zstd -d {name}"),
    (b"BZh", "is compressed with bzip2", "Unpack it: bunzip2 -k {name}"),
    (b"\xfd7zXZ\x00", "is compressed with xz", "Unpack it: unxz -k {name}"),
    (b"PK\x03\x04", "is a ZIP archive (.xlsx and .docx are, too)", "Unpack it, or save its rows as .csv."),
    (b"ARROW1", "is an Arrow file", "Name its folder in a recipe: data.train: [{{id: {folder}}}]"),
    (b"%PDF", "is a PDF", "Save its text as .txt."),
)


class FileType(Plugin):
    """A type of file that holds rows."""

    endings: tuple[str, ...]  # how names of such files end, in small letters; each may have .gz behind it

    @abstractmethod
    def rows(self, file: BinaryIO, name: str) -> Rows:
        """Yield the rows of an open file with this name, or BadData for one row; a fault of the file is raised."""

    def count(self, file: BinaryIO, name: str) -> int | None:
        """Return how many rows an open file says that it has; None where it doesn't."""
        return None


KIND: PluginKind[FileType] = PluginKind("file type", __name__, base=FileType)


class Place(NamedTuple):
    """Where a row was read: the file's name, and its first line, or its number (.json, .parquet)."""

    file: str
    number: int

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about all files of a path: bytes, and when the newest was written and placed there."""

    size: int
    written: float
    placed: float


def read_rows(path: Path, limit: int | None = None) -> list[Row]:
    """Read all rows of a path, or the first `limit`. Raises BadInput, also for a path without rows."""
    return [row for _, row in islice(stream_rows(path), limit)]


def stream_rows(path: Path) -> Iterator[tuple[Place, Row]]:
    """Yield each row with its place, without a table's empty cells. Raises BadInput at the first fault."""
    for place, row in entries(path):
        if isinstance(row, BadData):
            raise row
        yield place, filled(row, place)


def filled(row: Row, place: Place) -> Row:
    """Drop a table's empty cells. In JSON a null is explicit, and stays."""
    if None not in row.values() or type_of(place.file) in ("jsonl", "json"):
        return row
    return without_nulls(row)


def without_nulls(row: Row) -> Row:
    return {key: value for key, value in row.items() if value is not None}


def entries(path: Path) -> Iterator[tuple[Place, Row | BadData]]:
    """Yield each row with its place, or its error; an empty cell of a table is None. Raises BadInput."""
    has_rows = False
    for file in listed(path):
        name = shown_name(path, file)
        for number, row in _of_file(file, name):
            has_rows = True
            yield Place(name, number), row
    if not has_rows:
        hint = "Write one JSON object a line." if type_of(path.name) == USUAL else "Give data that has some."
        raise BadData(f"{path.name}: has no rows.", hint=hint)


def shown_name(path: Path, file: Path) -> str:
    """Return the displayed name of a file in a folder or pattern: with its folder."""
    return f"{file.parent.name}/{file.name}" if file != path else file.name


def _of_file(file: Path, name: str) -> Rows:
    with open_file(file) as opened:
        try:
            yield from _type_of(file, opened).rows(opened, name)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(name, opened, error) from error


def _type_of(file: Path, opened: BinaryIO) -> FileType:
    """Return the module that reads an open file at its beginning."""
    head = opened.read(len(_PARQUET))
    opened.seek(0)
    return KIND.load(type_of(file.name, head))


def type_of(name: str, head: bytes = b"") -> str:
    """Return the type of a file from its first bytes, or from its name's ending; JSON lines if neither is known."""
    if head.startswith(_PARQUET):
        return "parquet"
    return _types().get(ending_of(name), USUAL)


def ending_of(name: str) -> str:
    """Return the ending that shows the type: .csv for FAQ.csv.gz."""
    return Path(name.lower().removesuffix(PACKED)).suffix


def endings() -> tuple[str, ...]:
    """Return the endings of files with rows."""
    return tuple(_types())


@cache
def _types() -> dict[str, str]:
    return {ending: name for name in KIND.names() for ending in KIND.load(name).endings}


def listed(path: Path) -> list[Path]:
    """Return the files of a path, sorted by name. Raises BadInput if they are of several types, or there are none."""
    if is_pattern(path):
        files = sorted(file for file in path.parent.glob(path.name) if _is_given(file))
        if not files:
            raise BadInput(f"{path}: no file matches.", hint=_there(path.parent))
    elif _is_folder(path):
        if any((path / name).is_file() for name in _SAVED):
            raise BadInput(f"{path}: was written by save_to_disk.", hint=f"Use id: {path} instead of path.")
        files = sorted(file for file in path.iterdir() if _is_given(file))
        if not files:
            raise BadInput(f"{path}: is a folder without files.", hint=_there(path))
    else:
        return [path]
    ending_counts = Counter(ending_of(file.name) or file.name for file in files)
    if len({_types().get(ending, ending) for ending in ending_counts}) > 1:
        counts_text = ", ".join(f"{count} {ending}" for ending, count in ending_counts.most_common(6))
        known = [ending for ending, _ in ending_counts.most_common() if ending in _types()]
        # no README.md beside data
        best = min(known, key=lambda ending: _types()[ending] == "text", default="")
        names = [file.name.lower() for file in files if ending_of(file.name) == best]
        packed = PACKED * all(name.endswith(best + PACKED) for name in names)
        folder = path.parent if is_pattern(path) else path
        hint = f"Choose one: path: {folder}/*{best}{packed}" if best else "Name a file."
        raise BadInput(f"{path}: has files of several types: {counts_text}.", hint=hint)
    return files


def _is_given(file: Path) -> bool:
    return file.is_file() and not file.name.startswith((".", "_")) and not file.name.endswith(_OURS)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that is too long or invalid, which open_file reports
        return False


def _there(folder: Path) -> str:
    try:
        names = [entry.name + "/" * entry.is_dir() for entry in sorted(folder.iterdir())[:5]]
    except OSError:
        names = []
    return f"There is {', '.join(names)} in {folder}." if names else ""


def is_plain(path: Path) -> bool:
    """Return whether a path is one uncompressed file of JSON lines. Raises BadInput."""
    if listed(path) != [path]:
        return False
    with open_file(path) as file:
        return not isinstance(file, gzip.GzipFile) and type_of(path.name, file.read(len(_PARQUET))) == USUAL


def is_there(path: Path) -> bool:
    """Return whether a path leads to files, whatever their contents."""
    return path.is_file() or path.is_dir() or is_pattern(path)


def facts_of(path: Path) -> Facts:
    """Return the facts of a path's files without opening them. Raises OSError, BadInput."""
    stats = [file.stat() for file in listed(path)]
    written, placed = max(stat.st_mtime for stat in stats), max(stat.st_ctime for stat in stats)
    return Facts(sum(stat.st_size for stat in stats), written, placed)


def count_rows(path: Path, most: int) -> tuple[float, bool]:
    """Return how many rows a path has, and whether that is exact. Raises BadInput.

    Parquet files record it. Else it is estimated from the bytes that up to `most` rows took, compressed or not.
    """
    paths = listed(path)
    rows, before, size = 0, 0, sum(file.stat().st_size for file in paths)
    for file in paths:
        with open_file(file) as opened:
            kind = _type_of(file, opened)
            if (counted := kind.count(opened, file.name)) is not None:
                rows += counted
                continue
            for _ in kind.rows(opened, file.name):
                rows += 1
                if rows == most:
                    return rows * size / max(1, before + _read_of(opened)), False
        before += file.stat().st_size
    return float(rows), True


def _read_of(file: BinaryIO) -> int:
    """Return how many bytes of a file hold what was read from it; it is then at another place.

    How far GzipFile reads ahead depends on Python, up to all of a small file: so what was read is unpacked again.
    """
    left = file.tell()
    packed: BinaryIO | None = getattr(file, "myfileobj", None)
    if packed is None:
        return left
    packed.seek(0)
    member = zlib.decompressobj(_GZIP_BITS)
    with suppress(zlib.error):  # what is damaged lies behind what was read
        while left > 0 and (piece := packed.read(1024)):
            while piece and left > 0:
                left -= len(member.decompress(piece))
                piece = member.unused_data
                member = zlib.decompressobj(_GZIP_BITS) if member.eof else member
    return packed.tell()


def require(path: Path) -> None:
    """Check that the files of a path exist and can contain rows. Raises BadInput."""
    for file in listed(path):
        open_file(file).close()


def open_file(path: Path) -> BinaryIO:
    """Open a file of rows, unpacking gzip. Raises BadInput for what is not a file or can't contain rows."""
    file: BinaryIO | None = None
    try:
        file = open_given(path)
        head = file.read(8)
        file.seek(0)
        if head.startswith(_GZIP):
            file = _unpacked(file)
            head = file.read(8)
            file.seek(0)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file.") from error
    except IsADirectoryError as error:
        raise BadInput(f"{path}: is a folder.", hint="Name a file in it.") from error
    except (OSError, ValueError, EOFError, zlib.error) as error:
        if file is None:
            raise BadInput(f"{path}: cannot be read: {_reason(error)}.") from error
        file.close()
        raise _damaged(str(path), file, error) from error
    for beginning, what, hint in _BEGINNINGS:
        if head.startswith(beginning):
            file.close()
            raise BadData(f"{path}: {what}.", hint=hint.format(name=path.name, folder=path.parent.resolve()))
    if type_of(path.name, head) in ("jsonl", "json") and head.startswith(_text.UTF_16):
        file.close()
        raise BadData(f"{path}: is UTF-16 text.", hint=_text.as_utf8("utf-16", path.name))
    return file


def _unpacked(file: BinaryIO) -> BinaryIO:
    unpacked = gzip.GzipFile(fileobj=file)
    unpacked.myfileobj = cast("Any", file)  # closes it too
    return cast("BinaryIO", unpacked)


def _damaged(name: str, file: BinaryIO, error: Exception) -> BadData:
    what = "is a damaged gzip file" if isinstance(file, gzip.GzipFile) else "can't be read"
    return BadData(f"{name}: {what}: {_reason(error)}.", hint="Copy or write it again.")


def _reason(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return reason.rstrip(".").lower()


def unknown_column(name: str, row: Row) -> str:
    """Return a hint for an unknown column: a similar name, and the existing columns."""
    first, dot, _ = name.partition(".")
    if dot and isinstance(row.get(first), dict):
        return (
            f"{first} is a mapping, and columns are the keys of the row itself: write its values beside it."
        )
    meant = near(name, row)
    return f"{f'Did you mean {meant}?' if meant else ''} The columns are {', '.join(map(str, row))}.".strip()
