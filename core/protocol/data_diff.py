"""Data versions: the content that a source's rows had when a run read it, and how two contents differ.

A job stores a hash of each row in its run's folder (data/row_hashes.py) and reports the content in an event;
the store numbers the versions of each source. Comparisons run in a separate process: `python -m
finetop.core.features.data_versions < {"pairs": …, "files": …}` compares rows and reads the files as they are now.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

NAMED = 6  # digits of a content in a version's name: faq.jsonl#3f2a9c
Words = Annotated[str, Meta(max_length=10_000)]
Count = Annotated[int, Meta(ge=0, lt=2**31)]


class SourceRow(msgspec.Struct, frozen=True):
    """A data source's content when a run read it, and the number of that version."""

    source: str
    path: str  # of the file, or the data set's id
    part: str  # subset and split of a data set
    use: Literal["train", "replay", "eval", "test"]  # test: the target was measured on it
    rows: int
    content: str  # sha256 of the rows in order
    limit: int | None = None  # most rows to read, if requested
    share: float | None = None  # of all training rows
    size: int = 0  # bytes of the file
    written: float | None = None  # the file's modification time
    revision: str = ""
    fingerprint: str = ""
    number: int = 0  # v1 is the first version seen of this source
    newest: int = 0  # the newest version seen
    first_seen: float = 0.0
    after_queue: bool = False  # the file was written or placed after the job was queued
    learned: str = ""  # sha256 of the tokens of its rows
    origin: Origin | None = None  # what the file was made of
    origin_number: int = 0  # the version of that; 0: no run has read it
    sha256: str = ""  # of the file


class Now(msgspec.Struct, frozen=True):
    """A source's file now. `unread`: it changed since, and is too large to be read just for an overview."""

    state: Literal["same", "changed", "gone", "unread"]
    rows: int | None = None  # None: it can't be read as rows
    content: str = ""  # of a changed file
    lint: Kept | None = None  # lint's findings when it was read


class Pair(msgspec.Struct, frozen=True):
    """Rows to be compared: per source, the files that may hold their hashes; and the files to read rows from."""

    before: list[list[str]]
    after: list[list[str]]
    files: list[str] = []
    examples: int = 0  # of each kind


class Asked(msgspec.Struct, frozen=True):
    home: str  # where lint stores its findings
    pairs: list[Pair] = []
    files: list[SourceRow] = []


class Example(msgspec.Struct, frozen=True):
    """A row that differs, as text. `changed` has both sides, else one is empty."""

    before: str = ""
    after: str = ""


class Difference(msgspec.Struct, frozen=True):
    """How two contents differ. `changed` rows are in the same place between the same neighbours."""

    both: int = 0
    changed: int = 0
    gone: int = 0  # only before, without the changed ones
    new: int = 0
    same_order: bool = True  # of the rows in both
    examples: list[Example] = []
    not_found: int = 0  # examples whose row is in no file any more
    why_not: str = ""  # why they can't be compared

    @property
    def is_same(self) -> bool:
        return not (self.why_not or self.changed or self.gone or self.new) and self.same_order


class Found(msgspec.Struct, frozen=True):
    pairs: list[Difference]
    files: list[Now]


def named(source: str, content: str) -> str:
    """Return the readable name of a content: faq.jsonl#3f2a9c."""
    return f"{source}#{content[:NAMED]}"


class Brief(msgspec.Struct, frozen=True):
    """One finding, as a count."""

    name: str
    about: str
    severity: str
    count: int  # rows
    of: int


class Kept(msgspec.Struct, frozen=True):
    """Lint's findings, for these sources together."""

    at: float
    sources: list[str]
    findings: list[Brief]  # worst first


class Origin(msgspec.Struct, frozen=True):
    """What a file was made of, and how."""

    how: Literal["selected", "mended"]
    path: Words  # the file it was made of
    sha256: Words  # of that file
    of_rows: Count
    rows: Count
    by: Words = ""  # how rows were selected
    removed: Count = 0
    mended: Count = 0
    before: Origin | None = None  # the origin of that file
