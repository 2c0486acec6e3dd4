"""What people note of runs: tags, and one note."""

from __future__ import annotations

import msgspec

from finetop.core.protocol.request import Order


class TagAnswer(msgspec.Struct, frozen=True):
    run: str
    tags: list[str]  # that it has now
    added: list[str]  # that it had not before
    dropped: list[str]


class Tag(Order[TagAnswer], tag="tag", frozen=True):
    """Put tags on a run, and take some off."""

    run: str
    add: list[str] = []
    drop: list[str] = []


class NoteAnswer(msgspec.Struct, frozen=True):
    run: str
    note: str
    before: str


class Note(Order[NoteAnswer], tag="note", frozen=True):
    """Write a run's note, in place of the one that it has; an empty one takes it away."""

    run: str
    text: str
