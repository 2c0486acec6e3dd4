"""JSON lines: one object per line. Every error names file and line."""

from __future__ import annotations

from typing import Any, BinaryIO

import msgspec

from finetop.core.data.files import FileType, Rows, _text
from finetop.core.errors import BadData

LONGEST_LINE = 256 << 20  # bytes; a line too long for a row is skipped up to this length
DEEPEST = 950  # brackets within brackets; Python itself goes to 1,000 or 20,000, depending on its version
_ONE_A_LINE = "Write one JSON object a line."


class JsonlFile(FileType):
    about = "JSON lines: one object a line"
    endings = (".jsonl", ".ndjson")

    def rows(self, file: BinaryIO, name: str) -> Rows:
        """Yield each row that is not blank with its line number, from 1. Raises BadData for a line without end."""
        number = 0
        while line := file.readline(_text.MAX_BYTES + 1):
            number += 1
            if len(line) > _text.MAX_BYTES:
                yield number, _text.too_long(f"{name}:{number}", "line")
                _pass_over(file, line, f"{name}:{number}")
                continue
            if number == 1:
                line = line.removeprefix(_text.UTF_8)
            if line.strip():
                yield number, row_of(line, name, number)


def _pass_over(file: BinaryIO, line: bytes, place: str) -> None:
    """Skip to the end of a line that is too long. Raises BadData if that is too far."""
    size = len(line)
    while line and not line.endswith(b"\n"):
        line = file.readline(_text.MAX_BYTES + 1)
        size += len(line)
        if size > LONGEST_LINE:
            message = f"{place}: the line goes on for more than {LONGEST_LINE >> 20} MiB."
            raise BadData(message, hint=_ONE_A_LINE)


def decode(text: bytes | str) -> Any:
    """Decode JSON. Raises RecursionError for one nested deeper than DEEPEST, msgspec's errors for what is no JSON."""
    value = msgspec.json.decode(text)
    opening = (
        text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    )
    if opening > DEEPEST:
        level, depth = [value], 0
        while level:
            if (depth := depth + 1) > DEEPEST:
                raise RecursionError
            inner = (
                one.values() if isinstance(one, dict) else one
                for one in level
                if isinstance(one, dict | list)
            )
            level = [child for children in inner for child in children if isinstance(child, dict | list)]
    return value


def row_of(line: bytes, name: str, number: int) -> dict[str, Any] | BadData:
    """Parse a line as a row, or return its error."""
    place = f"{name}:{number}"
    try:
        row = decode(line)
    except RecursionError:
        return BadData(f"{place}: is nested too deeply.", hint="A row is a flat object.")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if not is_utf8(line):
            return _text.not_utf8(line, place, name)
        reason = str(error).removeprefix("JSON is malformed: ")
        hint = _ONE_A_LINE
        if number == 1 and line.strip() in (b"[", b"{"):
            hint = _document(name)
        if b"\0" in line:
            return BadData(f"{place}: is binary, not text.", hint=hint)
        if b"NaN" in line or b"Infinity" in line:
            hint = "JSON has no NaN and no Infinity: write null."
        return BadData(f"{place}: is not JSON: {reason}.", hint=hint)
    if isinstance(row, dict):
        return row
    kind = "a list" if isinstance(row, list) else "a single value"
    is_document = number == 1 and isinstance(row, list) and row and isinstance(row[0], dict)
    hint = _document(name) if is_document else 'Write {"messages": […]} on each line.'
    return BadData(f"{place}: is {kind}, not an object.", hint=hint)


def is_utf8(content: bytes) -> bool:
    """Return whether the bytes are UTF-8; msgspec 0.22 and 0.23 raise different errors for those that are not."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _document(name: str) -> str:
    """Return a hint on how to read a single JSON document of rows."""
    old = name.rpartition("/")[2]
    return f"This looks like one JSON document: rename it to .json (mv {old} {old.partition('.')[0]}.json)."


PLUGIN = JsonlFile()
