"""Folders that appear whole or not at all: written aside, synced, renamed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def publish(aside: Path, target: Path) -> None:
    """Make a finished folder visible under its real name. Both must be on one file system.

    After a crash at any moment the target is absent or complete. Raises OSError.
    """
    for file in aside.rglob("*"):
        _sync(file)
    _sync(aside)
    aside.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
