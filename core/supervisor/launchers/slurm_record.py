"""What stands in a job's folder of its place in Slurm: slurm.json, and asked.json, the door to who keeps it there.

The supervisor writes both, whole or not at all. slurm.json is there before sbatch is called: its mark goes into the
job's comment, so that an answer that was lost is found again.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Literal

import msgspec

from finetop.core.runtime.files import open_regular, write_whole
from finetop.core.supervisor.launchers.launcher import Usage

USAGE = "usage.json"  # what a job uses on its node, written there
MARK = "finetop"  # in front of each comment
Wish = Literal["", "stop", "kill", "stacks"]


class Record(msgspec.Struct, frozen=True):
    """Which job of Slurm an attempt is."""

    attempt: int
    mark: str  # in its comment; of all tasks of an array the same
    index: int | None = None  # in its array
    id: str = ""  # its number there; empty until it is known
    refused: str = ""  # what sbatch said

    def listed_as(self, id: str, comment: str) -> bool:
        """Say whether a job of Slurm is this one."""
        if self.mark != comment.rpartition(" ")[2]:
            return False
        return self.index is None or id.endswith(f"_{self.index}")


class Door(msgspec.Struct, frozen=True):
    """What an attempt is asked for; each wish has a number of its own."""

    attempt: int
    what: Wish
    number: int = 0


def new_mark() -> str:
    """Make a mark that no other submission has."""
    return secrets.token_hex(8)


def read(folder: Path, attempt: int) -> Record | None:
    """Read which job of Slurm an attempt is; None for one that went elsewhere. Raises OSError."""
    found = _read(folder / "slurm.json", Record)
    return found if found is not None and found.attempt == attempt else None


def write(folder: Path, record: Record) -> None:
    write_whole(folder / "slurm.json", msgspec.json.encode(record))


def asked(folder: Path, attempt: int) -> Door:
    """Read what an attempt is asked for. Raises OSError."""
    found = _read(folder / "asked.json", Door)
    return found if found is not None and found.attempt == attempt else Door(attempt, "")


def ask(folder: Path, attempt: int, what: Wish) -> None:
    """Ask an attempt for something; who is to be killed is not asked for less afterwards."""
    before = asked(folder, attempt)
    if before.what == "kill" or (before.what == "stop" and what == "stacks"):
        return
    write_whole(folder / "asked.json", msgspec.json.encode(Door(attempt, what, before.number + 1)))


def usage(folder: Path) -> Usage | None:
    """Read what a job uses on its node, as it was last written there. Raises OSError."""
    found: Usage | None = _read(folder / USAGE, Usage)
    return found


def _read(file: Path, kind: Any) -> Any:
    try:
        with open_regular(file) as opened:
            return msgspec.json.decode(opened.read(1 << 16), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
