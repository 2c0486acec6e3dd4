"""What the app remembers between starts: columns of the list of runs, and the theme."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.runtime.files import open_regular, write_whole
from finetop.core.runtime.home import Home, find_home

FILE = "app.json"
LARGEST = 64 << 10  # bytes of a valid file


class Kept(msgspec.Struct, frozen=True):
    format: int = 1
    columns: list[str] = []  # of the list of runs, beside the fixed ones
    theme: str = ""


def file_of(home: Home) -> Path:
    """Return the file's path on this machine, where the terminal is. Raises EnvironmentTrouble."""
    return (home if home.link is None else find_home()).root / FILE


def kept(home: Home) -> Kept:
    """Read what is kept; the defaults if the file is missing or not ours."""
    try:
        with open_regular(file_of(home)) as opened:
            return msgspec.json.decode(opened.read(LARGEST), type=Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, FinetopError):
        return Kept()


def keep(home: Home, **changed: Any) -> None:
    """Change some of what is kept. Raises OSError, EnvironmentTrouble."""
    now = msgspec.structs.replace(kept(home), **changed)
    write_whole(file_of(home), msgspec.json.encode(now) + b"\n")
