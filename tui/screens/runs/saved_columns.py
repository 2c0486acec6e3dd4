"""What the app keeps on this machine about how its lists look: HOME/app.json, written whole, read without trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.protocol.run_columns import read_columns
from finetop.core.runtime.files import open_regular, write_whole
from finetop.core.runtime.home import find_home

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.runtime.home import Home

FILE = "app.json"
LARGEST = 64 << 10  # bytes of a file that is ours


class Kept(msgspec.Struct, frozen=True):
    format: int = 1
    columns: list[str] = []  # of the list of runs, beside those that are always there


def file_of(home: Home) -> Path:
    """Find the file on this machine, where the terminal is. Raises EnvironmentTrouble."""
    return (home if home.link is None else find_home()).root / FILE


def columns(home: Home) -> tuple[str, ...]:
    """Read the chosen columns; none where the file is not there, or is none of ours."""
    try:
        with open_regular(file_of(home)) as opened:
            kept = msgspec.json.decode(opened.read(LARGEST), type=Kept)
        return read_columns(" ".join(kept.columns))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, FinetopError):
        return ()


def keep_columns(home: Home, chosen: tuple[str, ...]) -> None:
    """Write the chosen columns. Raises OSError, EnvironmentTrouble."""
    write_whole(file_of(home), msgspec.json.encode(Kept(columns=list(chosen))) + b"\n")
