"""The user's documents: which files there are in what was named, and the texts in them.

What can't be used (empty, binary, no UTF-8, one endless line) is passed over, and told in one line with its place.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finetop.core.data.retrieval import file_types
from finetop.core.data.retrieval.file_types import Text, Unusable
from finetop.core.errors import BadInput
from finetop.core.runtime.files import given_path, open_given
from finetop.core.text import clean_line

MAX_BYTES = 256 * 2**20  # of a file, which is read whole


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: where it lies, how it is named to people, and what it holds."""

    path: Path
    name: str  # from what was named on: manuals/tent.md
    sha256: str


@dataclass
class Listing:
    """The files in what was named, in order of their names, and what was passed over, a line each."""

    files: list[File] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Document:
    """A text of its own: a file, or a row of one."""

    source: str  # manuals/tent.md
    line: int  # of the source, where it begins
    title: str  # empty where it says none itself
    text: str
    named: str = ""  # what the file's name says, where the text has no title either
    is_row: bool = False  # is on one line of its source


def find(named: Sequence[str]) -> Listing:
    """List the files in what was named. Raises BadInput for a name that leads nowhere."""
    listing = Listing()
    seen: set[tuple[int, int]] = set()  # a file or folder that is reached twice is read once
    for name in named:
        path = given_path(name)
        try:
            facts = path.stat()
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise BadInput(f"documents: {_shown(name)}: {why.lower()}.", hint="Check the path.") from error
        if stat.S_ISDIR(facts.st_mode):
            _look_into(path, path.name or name, listing, seen)
        else:
            _take(path, path.name, listing, seen)
    return listing


def read(file: File, passed_over: list[str]) -> Iterator[Document]:
    """Yield the documents in a file; what is in the way of one of them is put in `passed_over`."""
    told: list[str] = []
    try:
        for text in file_types.texts(file.path.read_bytes(), file.path.suffix.lower(), told):
            yield _document(file, text)
    except Unusable as fault:
        told.append(str(fault))
    except OSError as error:
        passed_over.append(_unreadable(file.name, error))
    passed_over += [f"{_shown(file.name)}{line}" for line in told]


def require_some(named: Sequence[str]) -> None:
    """Read until there is a document that can be used. Raises BadInput where there is none."""
    listing = find(named)
    passed_over: list[str] = []
    if not any(True for file in listing.files for _ in read(file, passed_over)):
        raise nothing_in(named, [*listing.passed_over, *passed_over])


def nothing_in(named: Sequence[str], passed_over: Sequence[str]) -> BadInput:
    """Say that there is nothing to search in, and why of the first of what was passed over."""
    where = ", ".join(named[:3]) + (" …" if len(named) > 3 else "")
    if not passed_over:
        return BadInput(f"documents: there are no documents in {where}.")
    more = f" ({len(passed_over) - 1} more)" if len(passed_over) > 1 else ""
    return BadInput(f"documents: nothing in {where} can be used. {passed_over[0]}{more}")


def _document(file: File, text: Text) -> Document:
    is_row = file.path.suffix.lower() in file_types.OF_ROWS
    named = "" if is_row else re.sub(r"[-_\s]+", " ", file.path.stem).strip()
    return Document(file.name, text.line, text.title, text.text, named, is_row)


def _look_into(folder: Path, name: str, listing: Listing, seen: set[tuple[int, int]]) -> None:
    try:
        facts = folder.stat()
        if (facts.st_dev, facts.st_ino) in seen:
            return  # a link that leads back
        seen.add((facts.st_dev, facts.st_ino))
        entries = sorted(folder.iterdir())
    except OSError as error:
        listing.passed_over.append(_unreadable(name, error))
        return
    strange: dict[str, list[str]] = {}
    for entry in entries:
        if entry.name.startswith("."):
            continue
        inside = f"{name}/{entry.name}"
        if entry.is_dir():
            _look_into(entry, inside, listing, seen)
        elif entry.suffix.lower() in file_types.SUFFIXES or not entry.suffix:
            _take(entry, inside, listing, seen)
        else:
            strange.setdefault(entry.suffix.lower(), []).append(inside)
    for suffix, names in strange.items():
        first = (
            _shown(names[0]) if len(names) == 1 else f"{_shown(name)}: {len(names)} {_shown(suffix)} files"
        )
        listing.passed_over.append(
            f"{first}: this file type is not supported. {file_types.HINTS.get(suffix, file_types.SAVE_AS_TEXT)}"
        )


def _take(path: Path, name: str, listing: Listing, seen: set[tuple[int, int]]) -> None:
    try:
        with open_given(path) as file:
            facts = os.fstat(file.fileno())
            if (facts.st_dev, facts.st_ino) in seen:
                return
            seen.add((facts.st_dev, facts.st_ino))
            if facts.st_size > MAX_BYTES:
                size = f"{facts.st_size / 2**20:,.0f} MiB"
                listing.passed_over.append(
                    f"{_shown(name)}: has {size}, {MAX_BYTES >> 20} at most. Split it."
                )
                return
            listing.files.append(File(path, name, hashlib.file_digest(file, "sha256").hexdigest()))
    except OSError as error:
        listing.passed_over.append(_unreadable(name, error))


def _unreadable(name: str, error: OSError) -> str:
    return f"{_shown(name)}: cannot be read: {(error.strerror or str(error)).lower()}."


def _shown(name: str) -> str:
    return clean_line(name, limit=200)
