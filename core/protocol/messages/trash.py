"""Runs that go to the trash and come back, and checkpoints and caches that go."""

from __future__ import annotations

from typing import Any

import msgspec

from finetop.core.protocol.messages.limits import Done
from finetop.core.protocol.request import Order, Question


class Removed(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    size_bytes: int
    files: int
    checkpoints: int


class Kept(msgspec.Struct, frozen=True):
    """A run that can't go, and why, with the exit code of that error."""

    run: str
    said: str
    exit_code: int


class RemoveAnswer(msgspec.Struct, frozen=True):
    runs: list[Removed]
    kept: list[Kept] = []


class Remove(Order[RemoveAnswer], tag="remove", frozen=True):
    """Move runs to the home's trash; `only_show` says what would go, `each` leaves out what can't, saying why."""

    runs: list[str]
    only_show: bool = False
    each: bool = False


class Trashed(msgspec.Struct, frozen=True):
    run_id: int
    name: str
    folder: str  # below the home's trash
    at: float  # when it was removed
    size_bytes: int


class TrashAnswer(msgspec.Struct, frozen=True):
    runs: list[Trashed]  # the newest first


class Trash(Question[TrashAnswer], tag="trash", frozen=True):
    """What lies in the trash."""


class Restore(Order[Done], tag="restore", frozen=True):
    """Bring a run back from the trash."""

    run: str  # name or number


class EmptyTrash(Order[Done], tag="empty-trash", frozen=True):
    """Remove for good what lies in the trash, of it these folders alone: those that a person has seen."""

    folders: list[str]


class CleanItem(msgspec.Struct, frozen=True):
    kind: str  # checkpoint, merged model, scores, data set, trash
    what: str
    path: str  # relative to the home
    size_bytes: int
    why: str


class CleanAnswer(msgspec.Struct, frozen=True):
    items: list[CleanItem]


class Clean(Order[CleanAnswer], tag="clean", frozen=True):
    """What of checkpoints and caches goes by the home's settings; `keep` overrides them (see recipe/home_settings.py).

    Without `shown` nothing is touched; with it, what goes and is among these paths is taken away.
    """

    keep: dict[str, Any] = {}
    shown: list[str] | None = None
