"""Where a command's job is in its reading, kept in its folder, so that another process can go on if it is killed.

A note is written before the events of a read are: the next process writes those that are missing, then reads on. It
exists as long as something may be unread.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from finetop.core.external.sources import Before
from finetop.core.protocol.events import Event
from finetop.core.runtime.files import open_own, read_own

LOCKED = 3  # exit code of the last reader: another process has the job's lock
FILE = "reading.msgpack"
FORMAT = 1
LARGEST = 256 << 20  # bytes; a look reads less


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """How a reading began, where it is, and the events of its last look."""

    format: int = FORMAT
    attempt: int
    began: float  # seconds since 1970
    spent_before_s: float  # by earlier attempts
    log_begins: int
    environment: dict[str, bytes]  # of the command, where it says where files go
    before: dict[bytes, Before]  # files that were there
    goes_on: bool
    after: int  # number of the last event before those of the look
    events: list[Event] = []
    numbers: msgspec.Raw = msgspec.Raw(b"\xc0")  # see Numbers.state


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Note)


def write(folder: Path, note: Note) -> None:
    """Replace a job's note. It survives a kill, not a power failure. Raises OSError."""
    aside = folder / f".{FILE}"
    with os.fdopen(open_own(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(_encoder.encode(note))
    aside.replace(folder / FILE)


def read(folder: Path) -> Note | None:
    """Return a job's note; None if there is none, or none that can be read."""
    try:
        note = _decoder.decode(read_own(folder / FILE, LARGEST))
    except (OSError, msgspec.DecodeError, RecursionError):
        return None
    return note if note.format == FORMAT else None


def files_of(folder: Path) -> list[str]:
    """Return the files that a job reads, or does not read because another does too; empty if it has no note."""
    note = read(folder)
    if note is None:
        return []
    try:
        numbers = msgspec.msgpack.decode(note.numbers) or {"files": (), "shared": ()}
        return [
            os.fsdecode(path) for path in (*(path for _, _, path, *_ in numbers["files"]), *numbers["shared"])
        ]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return []


def remove(folder: Path) -> None:
    """Remove a job's note: everything is read."""
    with contextlib.suppress(OSError):
        (folder / FILE).unlink(missing_ok=True)
