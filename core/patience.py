"""Tries again what a file system refuses for a moment: a stale handle, no locks, no answer. Standard library only."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")

PASSES = (errno.ESTALE, errno.ENOLCK, errno.EIO, errno.ETIMEDOUT)
PATIENCE_S = 60.0
AGAIN_S = 0.2


def patiently(work: Callable[[], Made]) -> Made:
    """Do some work with files, again and again for a minute while that is refused. Raises OSError."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return work()
        except OSError as error:
            if error.errno not in PASSES or time.monotonic() > deadline:
                raise
        time.sleep(AGAIN_S)
