"""Users' notes on runs: tags, and one note."""

from __future__ import annotations

import msgspec

from finetop.core.protocol.request import Order


class TagAnswer(msgspec.Struct, frozen=True):
    run: str
    tags: list[str]  # all that it has now
    added: list[str]  # new ones
    dropped: list[str]


class Tag(Order[TagAnswer], tag="tag", frozen=True):
    """Add tags to a run, and remove some."""

    run: str
    add: list[str] = []
    drop: list[str] = []


class NoteAnswer(msgspec.Struct, frozen=True):
    run: str
    note: str
    before: str


class Note(Order[NoteAnswer], tag="note", frozen=True):
    """Set a run's note; an empty one removes it."""

    run: str
    text: str
