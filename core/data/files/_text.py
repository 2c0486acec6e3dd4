"""Reads text files: UTF-8 with or without a byte-order mark, or UTF-16 with one; for others, suggests a conversion."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

from finetop.core.errors import BadData

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 8 * 1024 * 1024  # per row
UTF_8 = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def lines(file: BinaryIO, name: str) -> Iterator[str]:
    """Yield the lines of a text with their line ends, without the byte-order mark. Raises BadData with the line."""
    head = file.read(2)
    file.seek(0)
    if head in UTF_16:
        yield from _wide_lines(file, name)
        return
    number = 0
    while line := file.readline(MAX_BYTES + 1):
        number += 1
        if len(line) > MAX_BYTES:
            raise too_long(f"{name}:{number}", "line")
        if b"\0" in line:
            raise BadData(f"{name}:{number}: is binary, not text.", hint="Save it as text.")
        try:
            yield (line.removeprefix(UTF_8) if number == 1 else line).decode()
        except UnicodeDecodeError as error:
            raise not_utf8(line, f"{name}:{number}", name) from error


def _wide_lines(file: BinaryIO, name: str) -> Iterator[str]:
    number = 0
    with io.TextIOWrapper(file, encoding="utf-16", newline="") as text:
        try:
            while line := text.readline(MAX_BYTES + 1):
                number += 1
                if len(line) > MAX_BYTES:
                    raise too_long(f"{name}:{number}", "line")
                yield line
        except UnicodeError as error:
            hint = "Save the file as UTF-8."
            raise BadData(f"{name}:{number + 1}: is damaged UTF-16 text.", hint=hint) from error


def not_utf8(content: bytes, place: str, name: str) -> BadData:
    """Return the error for a text that is not UTF-8, with its likely encoding."""
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return BadData(f"{place}: is not UTF-8 text.", hint="Save the file as UTF-8.")
    return BadData(f"{place}: is not UTF-8 text; it may be Windows cp1252.", hint=as_utf8("cp1252", name))


def as_utf8(encoding: str, name: str) -> str:
    """Return the command that converts a file of another encoding to UTF-8."""
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")
    new = f"{stem}-utf8{dot}{ending}" if stem else f"{ending}-utf8"
    return f"Make it UTF-8: iconv -f {encoding} -t utf-8 {name.rpartition('/')[2]} > {new}"


def too_long(place: str, what: str) -> BadData:
    """Return the error for a row that is too long."""
    most = MAX_BYTES // 2**20
    fix = "One row a line: split it." if what == "line" else "Split it."
    return BadData(f"{place}: the {what} is longer than {most} MiB.", hint=fix)
