"""The user's documents: the files in the named paths, and the texts in them.

What can't be used (empty, binary, not UTF-8, one endless line) is skipped, with a line that gives its place.
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

MAX_BYTES = 256 * 2**20  # per file, since it is read whole


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: its path, displayed name and hash."""

    path: Path
    name: str  # relative to the named path: manuals/tent.md
    sha256: str


@dataclass
class Listing:
    """The files in the named paths, sorted by name, and why others were skipped, one line each."""

    files: list[File] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Document:
    """One text: a whole file, or a row of one."""

    source: str  # manuals/tent.md
    line: int  # where it begins in the source
    title: str  # empty if it has none itself
    text: str
    named: str = ""  # a title from the file's name, if the text has none
    is_row: bool = False  # it is one line of its source


def find(named: Sequence[str]) -> Listing:
    """Return the files in the named paths. Raises BadInput for a path that does not exist."""
    listing = Listing()
    seen: set[tuple[int, int]] = set()  # files and folders reached twice are read once
    for name in named:
        path = given_path(name)
        try:
            facts = path.stat()
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise BadInput(f"documents: {_shown(name)}: {why.lower()}.", hint="Check the path.") from error
        if stat.S_ISDIR(facts.st_mode):
            _add_folder(path, path.name or name, listing, seen)
        else:
            _add_file(path, path.name, listing, seen)
    return listing


def read(file: File, passed_over: list[str]) -> Iterator[Document]:
    """Yield the documents in a file; add the problems of unusable ones to `passed_over`."""
    problems: list[str] = []
    try:
        for text in file_types.texts(file.path.read_bytes(), file.path.suffix.lower(), problems):
            yield _document(file, text)
    except Unusable as fault:
        problems.append(str(fault))
    except OSError as error:
        passed_over.append(_unreadable(file.name, error))
    passed_over += [f"{_shown(file.name)}{line}" for line in problems]


def require_some(named: Sequence[str]) -> None:
    """Check that at least one document can be used. Raises BadInput otherwise."""
    listing = find(named)
    passed_over: list[str] = []
    if not any(True for file in listing.files for _ in read(file, passed_over)):
        raise nothing_in(named, [*listing.passed_over, *passed_over])


def nothing_in(named: Sequence[str], passed_over: Sequence[str]) -> BadInput:
    """Return the error for documents without usable text, with the first reason."""
    where = ", ".join(named[:3]) + (" …" if len(named) > 3 else "")
    if not passed_over:
        return BadInput(f"documents: there are no documents in {where}.")
    more = f" ({len(passed_over) - 1} more)" if len(passed_over) > 1 else ""
    return BadInput(f"documents: nothing in {where} can be used. {passed_over[0]}{more}")


def _document(file: File, text: Text) -> Document:
    is_row = file.path.suffix.lower() in file_types.OF_ROWS
    named = "" if is_row else re.sub(r"[-_\s]+", " ", file.path.stem).strip()
    return Document(file.name, text.line, text.title, text.text, named, is_row)


def _add_folder(folder: Path, name: str, listing: Listing, seen: set[tuple[int, int]]) -> None:
    try:
        facts = folder.stat()
        if (facts.st_dev, facts.st_ino) in seen:
            return  # a link back to a folder already read
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
            _add_folder(entry, inside, listing, seen)
        elif entry.suffix.lower() in file_types.SUFFIXES or not entry.suffix:
            _add_file(entry, inside, listing, seen)
        else:
            strange.setdefault(entry.suffix.lower(), []).append(inside)
    for suffix, names in strange.items():
        several = f"{_shown(name)}: {len(names)} {_shown(suffix)} files"
        first = _shown(names[0]) if len(names) == 1 else several
        hint = file_types.HINTS.get(suffix, file_types.SAVE_AS_TEXT)
        listing.passed_over.append(f"{first}: this file type is not supported. {hint}")


def _add_file(path: Path, name: str, listing: Listing, seen: set[tuple[int, int]]) -> None:
    try:
        with open_given(path) as file:
            facts = os.fstat(file.fileno())
            if (facts.st_dev, facts.st_ino) in seen:
                return
            seen.add((facts.st_dev, facts.st_ino))
            if facts.st_size > MAX_BYTES:
                size = f"{facts.st_size / 2**20:,.0f} MiB, {MAX_BYTES >> 20} at most"
                listing.passed_over.append(f"{_shown(name)}: has {size}. Split it.")
                return
            listing.files.append(File(path, name, hashlib.file_digest(file, "sha256").hexdigest()))
    except OSError as error:
        listing.passed_over.append(_unreadable(name, error))


def _unreadable(name: str, error: OSError) -> str:
    return f"{_shown(name)}: cannot be read: {(error.strerror or str(error)).lower()}."


def _shown(name: str) -> str:
    return clean_line(name, limit=200)
