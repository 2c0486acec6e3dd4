"""What the app keeps from one start to the next: columns of the list of runs, and the theme."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.runtime.files import open_regular, write_whole
from finetop.core.runtime.home import Home, find_home

FILE = "app.json"
LARGEST = 64 << 10  # bytes of a file that is ours


class Kept(msgspec.Struct, frozen=True):
    format: int = 1
    columns: list[str] = []  # of the list of runs, beside those that are always there
    theme: str = ""


def file_of(home: Home) -> Path:
    """Find the file on this machine, where the terminal is. Raises EnvironmentTrouble."""
    return (home if home.link is None else find_home()).root / FILE


def kept(home: Home) -> Kept:
    """Read what is kept; nothing where the file is not there, or is none of ours."""
    try:
        with open_regular(file_of(home)) as opened:
            return msgspec.json.decode(opened.read(LARGEST), type=Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, FinetopError):
        return Kept()


def keep(home: Home, **changed: Any) -> None:
    """Write what is kept, with some of it changed. Raises OSError, EnvironmentTrouble."""
    now = msgspec.structs.replace(kept(home), **changed)
    write_whole(file_of(home), msgspec.json.encode(now) + b"\n")
