"""Folders and small files that appear whole or not at all: written aside, synced, renamed."""

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


def write_whole(file: Path, content: bytes) -> None:
    """Put a small file in place of what was there, for the owner only. No link is followed. Raises OSError."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        aside.replace(file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
