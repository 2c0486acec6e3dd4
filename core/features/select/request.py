"""Messages to and from the process that selects: plain data, one JSON line each."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import EnvironmentTrouble, of_code
from finetop.core.runtime import child

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.runtime.home import Home


class Wanted(msgspec.Struct, frozen=True):
    """Rows to select: a number, or a share of all."""

    by: str
    seed: int
    rows: int = 0
    share: float = 0.0
    to: str = ""  # a file; default: one in the home, named after its content
    settings: dict[str, Any] = {}


class Ask(msgspec.Struct, frozen=True):
    source: dict[str, Any]  # of a recipe: one file of rows
    wanted: list[Wanted]
    model: dict[str, Any] = {}  # the recipe's section


class Doing(msgspec.Struct, tag="doing", frozen=True):
    """What is being done; `done` of `total`, if it can be counted."""

    what: str
    done: int = 0
    total: int = 0


class Selected(msgspec.Struct, tag="selected", frozen=True):
    """A file that was written; files come in the order requested."""

    by: str
    seed: int
    rows: int
    of: int  # rows of the data
    path: str
    manifest: str
    sha256: str


class TooFew(msgspec.Struct, tag="too_few", frozen=True):
    """Too few rows: the data, or the selector, has no more than `most`."""

    by: str
    seed: int
    rows: int
    most: int
    of: int
    may: str = ""  # describes the eligible rows


class Trouble(msgspec.Struct, tag="trouble", frozen=True):
    message: str
    hint: str
    exit_code: int


_told = msgspec.json.Decoder(Doing | Selected | TooFew | Trouble)


def select(ask: Ask, home: Home) -> Iterator[Doing | Selected | TooFew]:
    """Select rows in a separate process, which ends when nobody reads its output. Raises FinetopError."""
    home_folder, request = str(home.root), msgspec.json.encode(ask)
    with tempfile.TemporaryFile() as errors:
        asked = child.asked_child(
            "finetop.core.features.select", home_folder, asked=request, errors=errors, own_session=True
        )
        with asked as (process, lines):
            for line in lines:
                message = _told.decode(line)
                if isinstance(message, Trouble):
                    raise of_code(message.exit_code, message.message, message.hint)
                yield message
            if process.wait() != 0:
                errors.seek(0)
                why = f"ended with {process.returncode}: {child.last_line(errors.read())}"
                hint = "If memory ran out: select from fewer rows, or with a smaller --model."
                raise EnvironmentTrouble(f"the process that selects {why}", hint=hint)
