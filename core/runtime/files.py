"""Folders and small files that appear whole or not at all: written aside, synced, renamed."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from finetop.core.errors import BadInput
from finetop.core.runtime.crash_points import abort_at

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


def make_inside(folder: Path, above: Path) -> None:
    """Make a folder below another, for the owner only. Raises BadInput where a link leads elsewhere, and OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not folder.resolve().is_relative_to(above.resolve()):
        raise BadInput(
            f"{folder} leads out of {above}, by a link.", hint="Put a real folder in the link's place."
        )


def open_regular(file: Path) -> BinaryIO:
    """Open an ordinary file for reading. A link, a pipe or a device in its place is as if nothing were there.

    Raises OSError.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EMLINK):
            raise FileNotFoundError(errno.ENOENT, "no ordinary file", str(file)) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise FileNotFoundError(errno.ENOENT, "no ordinary file", str(file))
    return os.fdopen(handle, "rb")


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
        abort_at("file-aside")
        aside.replace(file)
        abort_at("file-placed")
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
