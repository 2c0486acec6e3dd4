"""Versions of data: what a source held when a run read it, by the content of its rows, and how two of them differ.

A job keeps a hash of each row in its run's folder (data/versions/row_hashes.py), and tells the content in an event;
the store numbers what it has seen of each source. What is asked of them is found in a process of its own: `python -m
finetop.core.data.versions < {"pairs": …, "files": …}` compares rows and looks at the files as they are now.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

NAMED = 6  # digits of a content's name: faq.jsonl#3f2a9c
Words = Annotated[str, Meta(max_length=10_000)]
Count = Annotated[int, Meta(ge=0, lt=2**31)]


class SourceRow(msgspec.Struct, frozen=True):
    """What a data source held when a run read it, and which version of it that is."""

    source: str
    path: str  # of the file, or the data set's id
    part: str  # subset and split of a data set
    use: Literal["train", "replay", "eval", "test"]  # test: what its target was measured on
    rows: int
    content: str  # sha256 of the rows in their order
    limit: int | None = None  # so many rows were wanted
    share: float | None = None  # of all rows that are trained on
    size: int = 0  # bytes of the file
    written: float | None = None  # when the file was written to last
    revision: str = ""
    fingerprint: str = ""
    number: int = 0  # v1 is the first that was seen of this source
    newest: int = 0  # the newest that was seen
    first_seen: float = 0.0
    after_queue: bool = False  # the file was written, or put there, after the job was queued
    learned: str = ""  # sha256 of the tokens that its rows became
    origin: Origin | None = None  # what the file was made of
    origin_number: int = 0  # the version of that; 0: no run has read it
    sha256: str = ""  # of the file


class Now(msgspec.Struct, frozen=True):
    """A source's file now. `unread`: it was written to since, and is too long to be read again for a glance."""

    state: Literal["same", "changed", "gone", "unread"]
    rows: int | None = None  # None: it can't be read as rows
    content: str = ""  # of one that was changed
    lint: Kept | None = None  # what lint found of it as it was read


class Pair(msgspec.Struct, frozen=True):
    """Rows that are to be compared: of each source where its hashes may lie, and the files where rows may be read."""

    before: list[list[str]]
    after: list[list[str]]
    files: list[str] = []
    examples: int = 0  # of each kind


class Asked(msgspec.Struct, frozen=True):
    home: str  # where lint keeps what it found
    pairs: list[Pair] = []
    files: list[SourceRow] = []


class Example(msgspec.Struct, frozen=True):
    """A row that differs, as text. `changed` has both, else one is empty."""

    before: str = ""
    after: str = ""


class Difference(msgspec.Struct, frozen=True):
    """How rows differ. `changed` stand in the same place between the same neighbours."""

    both: int = 0
    changed: int = 0
    gone: int = 0  # only before, the changed ones aside
    new: int = 0
    same_order: bool = True  # of those that both have
    examples: list[Example] = []
    not_found: int = 0  # examples whose row is in no file any more
    why_not: str = ""  # they can't be compared

    @property
    def is_same(self) -> bool:
        return not (self.why_not or self.changed or self.gone or self.new) and self.same_order


class Found(msgspec.Struct, frozen=True):
    pairs: list[Difference]
    files: list[Now]


def named(source: str, content: str) -> str:
    """Name a content for people: faq.jsonl#3f2a9c."""
    return f"{source}#{content[:NAMED]}"


class Brief(msgspec.Struct, frozen=True):
    """One finding, as a number."""

    name: str
    about: str
    severity: str
    count: int  # rows
    of: int


class Kept(msgspec.Struct, frozen=True):
    """What was found, in which sources together, and when."""

    at: float
    sources: list[str]
    findings: list[Brief]  # worst first


class Origin(msgspec.Struct, frozen=True):
    """What a file was made of, and how."""

    how: Literal["selected", "mended"]
    path: Words  # of the file that it was made of
    sha256: Words  # of that file
    of_rows: Count
    rows: Count
    by: Words = ""  # how rows were selected
    removed: Count = 0
    mended: Count = 0
    before: Origin | None = None  # what that file was made of
