"""Reads rows of JSON lines, one at a time and without trusting them: every fault names file and line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from finetop.core.data import formats
from finetop.core.data.formats import Conversation
from finetop.core.errors import BadData, BadInput
from finetop.core.runtime.files import open_given

MAX_LINE_BYTES = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_BEGINNINGS: tuple[
    tuple[bytes, str, str], ...
] = (  # of files that are no lines of text: what they are, what helps
    (b"\x1f\x8b", "is packed by gzip", "Unpack it: gunzip -k {name}"),
    (b"\x28\xb5\x2f\xfd", "is packed by zstd", "Unpack it: zstd -d {name}"),
    (b"BZh", "is packed by bzip2", "Unpack it: bunzip2 -k {name}"),
    (b"\xfd7zXZ\x00", "is packed by xz", "Unpack it: unxz -k {name}"),
    (b"PK\x03\x04", "is a ZIP archive (.xlsx and .docx are, too)", "Unpack it, or save its rows as .jsonl."),
    (b"PAR1", "is a Parquet file", "Name its folder in a recipe: data.train: [{{id: {folder}}}]"),
    (b"ARROW1", "is an Arrow file", "Name its folder in a recipe: data.train: [{{id: {folder}}}]"),
    (b"%PDF", "is a PDF", "Rows are read from .jsonl files."),
    (b"\xff\xfe", "is UTF-16 text", "Make it UTF-8: iconv -f utf-16 -t utf-8 {name}"),
    (b"\xfe\xff", "is UTF-16 text", "Make it UTF-8: iconv -f utf-16 -t utf-8 {name}"),
)
_ONE_DOCUMENT = "This looks like one JSON document: write one object a line instead (jq -c '.[]')."
_AS_LINES = (
    "Make it JSON lines: python -c 'import csv,json,sys;"
    " [print(json.dumps(row)) for row in csv.DictReader(sys.stdin)]'"
)


def read_rows(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Read all rows of a .jsonl file, or the first `limit`. Raises BadInput; a file without rows is one."""
    return [row for _, row in islice(stream_rows(path), limit)]


def read_conversations(path: Path, format_name: str = "auto", limit: int | None = None) -> list[Conversation]:
    """Read the rows of a .jsonl file as conversations.

    `auto` takes the format of the first row for all. Raises BadInput, NotFound for an unknown format.
    """
    conversations = []
    for line, row in islice(stream_rows(path), limit):
        place = f"{path.name}:{line}"
        if format_name == "auto":
            format_name = formats.detect(row, place)
        record = formats.read(row, place, format_name)
        assert isinstance(record, formats.Conversation)  # no other kind was asked for
        conversations.append(record)
    return conversations


def stream_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row with its line number, from 1; blank lines are passed over.

    Holds one line at a time, of at most 8 MiB. Raises BadInput.
    """
    with open_file(path) as file:
        number = 0
        has_rows = False
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                longest = MAX_LINE_BYTES // 2**20
                raise _fault(
                    path, number, f"the line is longer than {longest} MiB.", "One row a line: split it."
                )
            if number == 1:
                line = line.removeprefix(_BOM)
            if line.strip():
                has_rows = True
                yield number, _row(line, path, number)
    if not has_rows:
        raise BadData(f"{path.name}: has no rows.", hint="Write one JSON object a line.")


def _row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except UnicodeDecodeError as error:
        hint = "Save the file as UTF-8 (old Windows files: iconv -f cp1252 -t utf-8)."
        raise _fault(path, number, "is not UTF-8 text.", hint) from error
    except RecursionError as error:
        raise _fault(path, number, "is nested too deeply.", "A row is a flat object.") from error
    except msgspec.MsgspecError as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        hint = "Write one JSON object a line."
        if number == 1 and line.strip() in (b"[", b"{"):
            hint = _ONE_DOCUMENT
        if path.suffix.lower() in (".csv", ".tsv"):
            hint = f"{_AS_LINES} < {path.name} > {path.stem}.jsonl"
            raise _fault(path, number, "is a table, not JSON.", hint) from error
        if b"\0" in line:
            raise _fault(path, number, "is binary, not text.", hint) from error
        if b"NaN" in line or b"Infinity" in line:
            hint = "JSON has no NaN and no Infinity: write null."
        raise _fault(path, number, f"is not JSON: {reason}.", hint) from error
    if not isinstance(row, dict):
        kind = "a list" if isinstance(row, list) else "a single value"
        hint = 'Write {"messages": […]} on each line.'
        is_document = number == 1 and isinstance(row, list) and row and isinstance(row[0], dict)
        raise _fault(path, number, f"is {kind}, not an object.", _ONE_DOCUMENT if is_document else hint)
    return row


def open_file(path: Path) -> BinaryIO:
    """Open a file of rows; nothing that is no file, or that begins like no text. Raises BadInput."""
    try:
        file = open_given(path)
        head = file.read(8)
        file.seek(0)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file.") from error
    except IsADirectoryError as error:
        raise BadInput(f"{path}: is a folder.", hint="Name the .jsonl files in it.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInput(f"{path}: cannot be read: {reason.lower()}.") from error
    for beginning, what, hint in _BEGINNINGS:
        if head.startswith(beginning):
            file.close()
            raise BadData(f"{path}: {what}.", hint=hint.format(name=path.name, folder=path.parent.resolve()))
    return file


def _fault(path: Path, number: int, message: str, hint: str) -> BadData:
    return BadData(f"{path.name}:{number}: {message}", hint=hint)
