"""The trash: removing and restoring runs; and cleaning up checkpoints and caches."""

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
    """A run that can't be removed, with the error and its exit code."""

    run: str
    error: str = msgspec.field(name="said")
    exit_code: int


class RemoveAnswer(msgspec.Struct, frozen=True):
    runs: list[Removed]
    kept: list[Kept] = []


class Remove(Order[RemoveAnswer], tag="remove", frozen=True):
    """Move runs to the home's trash; `only_show` lists them instead, `each` skips those that can't be removed."""

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
    runs: list[Trashed]  # newest first


class Trash(Question[TrashAnswer], tag="trash", frozen=True):
    """The runs in the trash."""


class Restore(Order[Done], tag="restore", frozen=True):
    """Restore a run from the trash."""

    run: str  # name or number


class EmptyTrash(Order[Done], tag="empty-trash", frozen=True):
    """Delete runs in the trash for good, but only these folders: those that the user has seen."""

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
    """Clean up checkpoints and caches by the home's settings (recipe/home_settings.py)."""

    keep: dict[str, Any] = {}  # overrides the settings
    shown: list[str] | None = None  # paths of the items that may be removed; None: only list them
