"""Looks whether a lock file is held, without taking it: true of a living process alone, whatever its pid."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def is_held(path: Path) -> bool:
    """Say whether another process holds the lock. A link in its place is not followed."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # the file system has no locks; `doctor` says so of it
    finally:
        os.close(descriptor)
    return False
