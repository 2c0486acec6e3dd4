"""Checks whether a lock file is held, without taking it: only a living process can hold it, whatever its pid."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from finetop.core.errors import EnvironmentTrouble
from finetop.core.runtime.files import open_own, take_file_lock
from finetop.core.runtime.home import Home


def is_held(path: Path) -> bool:
    """Return whether another process holds the lock. A link is not followed.

    Raises OSError if that can't be determined (a stale file system, one without locks): no job is declared dead then.
    """
    try:
        descriptor = open_own(path, os.O_RDWR)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            return False
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)
    return False


def take_lock(home: Home, *, wait_s: float = 0.0) -> int | None:
    """Take the lock; return its descriptor, or None if it stays held for `wait_s`. Raises EnvironmentTrouble."""
    try:
        return take_file_lock(home.lock, wait_s)
    except OSError as error:
        hint = "Put the home on a local disk (--home or FINETOP_HOME)."
        raise EnvironmentTrouble(f"{home.root} can't be locked: {error.strerror}.", hint=hint) from error
