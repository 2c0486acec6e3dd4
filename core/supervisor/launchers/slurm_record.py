"""A job's Slurm files in its folder: slurm.json, its place in the queue, and asked.json, the requests to its keeper.

The supervisor writes both atomically. slurm.json is written before sbatch is called: its mark goes into the job's
comment, so a job whose answer was lost is found again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from finetop.core.runtime.files import open_regular, write_whole
from finetop.core.supervisor.launchers.launcher import Usage

USAGE = "usage.json"  # a job's usage, written on its node
MARK = "finetop"  # prefix of each comment
Wish = Literal["", "stop", "kill", "stacks"]
Kind = TypeVar("Kind")


class Record(msgspec.Struct, frozen=True):
    """The Slurm job of an attempt."""

    attempt: int
    mark: str  # in the job's comment; the same for all tasks of an array
    index: int | None = None  # in its array
    id: str = ""  # Slurm's id; empty until it is known
    refused: str = ""  # sbatch's message

    def listed_as(self, id: str, comment: str) -> bool:
        """Return True if a listed Slurm job is this one."""
        if self.mark != comment.rpartition(" ")[2]:
            return False
        return self.index is None or id.endswith(f"_{self.index}")


class Door(msgspec.Struct, frozen=True):
    """The latest request to an attempt, numbered."""

    attempt: int
    what: Wish
    number: int = 0


def read(folder: Path, attempt: int) -> Record | None:
    """Read the Slurm record of an attempt, or None if it did not go to Slurm. Raises OSError."""
    record = _read(folder / "slurm.json", Record)
    return record if record is not None and record.attempt == attempt else None


def write(folder: Path, record: Record) -> None:
    write_whole(folder / "slurm.json", msgspec.json.encode(record))


def latest_request(folder: Path, attempt: int) -> Door:
    """Read the latest request to an attempt. Raises OSError."""
    door = _read(folder / "asked.json", Door)
    return door if door is not None and door.attempt == attempt else Door(attempt, "")


def write_request(folder: Path, attempt: int, wish: Wish) -> None:
    """Write a request to an attempt; after a kill, nothing weaker replaces it."""
    before = latest_request(folder, attempt)
    if before.what == "kill" or (before.what == "stop" and wish == "stacks"):
        return
    write_whole(folder / "asked.json", msgspec.json.encode(Door(attempt, wish, before.number + 1)))


def usage(folder: Path) -> Usage | None:
    """Read a job's usage as last written on its node. Raises OSError."""
    return _read(folder / USAGE, Usage)


def _read(file: Path, kind: type[Kind]) -> Kind | None:
    try:
        with open_regular(file) as opened:
            return msgspec.json.decode(opened.read(1 << 16), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
