"""The home's lock: whoever holds it is the one that may open the database."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetop.core.home import Home


def take_lock(home: Home) -> int | None:
    """Take the lock without waiting: its descriptor, None when another process has it. Raises OSError."""
    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
