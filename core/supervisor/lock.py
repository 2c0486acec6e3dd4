"""The home's lock: whoever holds it is the one that may open the database."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from finetop.core.errors import EnvironmentTrouble

if TYPE_CHECKING:
    from finetop.core.runtime.home import Home


def take_lock(home: Home, *, wait_s: float = 0.0) -> int | None:
    """Take the lock: its descriptor, None when another process keeps it so long. Raises EnvironmentTrouble."""
    deadline = time.monotonic() + wait_s
    try:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return None
                time.sleep(0.02)
            else:
                return descriptor
    except OSError as error:
        hint = "Put the home on a local disk (--home or FINETOP_HOME)."
        raise EnvironmentTrouble(f"{home.root} can't be locked: {error.strerror}.", hint=hint) from error
