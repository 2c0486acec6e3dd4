"""Keeps an answer as a row of a test file: JSON lines with prompt and completion, or with messages."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.runtime.files import open_given, os_error_words

ENDINGS = (".jsonl", ".ndjson")
LONGEST = 64 << 20  # bytes of a row that is looked at
MODE = 0o600  # of a new file: an answer may hold what is private


def row_like(first: Mapping[str, Any] | None, prompt: str, system: str, answer: str) -> dict[str, Any]:
    """Return a row of the same shape as the first of a file; of a new one, with messages."""
    if first is not None and "prompt" in first and "completion" in first:
        if isinstance(first["prompt"], str):
            return {"prompt": f"{system}\n\n{prompt}" if system else prompt, "completion": answer}
        turns = _turns(prompt, system)
        return {"prompt": turns, "completion": [{"role": "assistant", "content": answer}]}
    if first is not None and "messages" not in first:
        keys = ", ".join(map(str, list(first)[:5]))
        hint = "Give a file of rows with messages, or with prompt and completion."
        raise BadInput(
            f"its rows have {keys or 'no keys'}, and a row of a chat does not fit them.", hint=hint
        )
    return {"messages": [*_turns(prompt, system), {"role": "assistant", "content": answer}]}


def _turns(prompt: str, system: str) -> list[dict[str, str]]:
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": prompt}]


def append_row(file: Path, prompt: str, system: str, answer: str) -> None:
    """Append a row to a file, which is made if it is missing. Raises BadInput, EnvironmentTrouble."""
    if file.suffix not in ENDINGS:
        raise BadInput(f"{file}: not a JSON lines file.", hint=f"Give a name that ends in {ENDINGS[0]}.")
    try:
        first, is_open_ended = _first_row(file)
        line = msgspec.json.encode(row_like(first, prompt, system, answer)) + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(file, flags, MODE)
        try:
            content = (b"\n" if is_open_ended else b"") + line
            before = os.fstat(descriptor).st_size
            if os.write(descriptor, content) < len(content):
                os.ftruncate(descriptor, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BadInput as error:
        raise BadInput(f"{file}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise EnvironmentTrouble(f"{os_error_words(error)}.", hint="Nothing was kept.") from error


def _first_row(file: Path) -> tuple[dict[str, Any] | None, bool]:
    """Return a file's first row, and whether its last line has no end. Raises BadInput for another kind of file."""
    try:
        opened = open_given(file)
    except FileNotFoundError:
        return None, False
    except ValueError as error:
        raise BadInput(f"{error}.") from error
    with opened:
        first = None
        while line := opened.readline(LONGEST):
            if line.strip():
                try:
                    first = msgspec.json.decode(line, type=dict[str, Any])
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise BadInput("it does not hold JSON lines.", hint="Give another file.") from error
                break
        size = opened.seek(0, os.SEEK_END)
        if not size:
            return first, False
        opened.seek(size - 1)
        return first, opened.read(1) != b"\n"
