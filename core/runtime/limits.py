"""Time and memory limits for foreign code that runs in this process: templates and patterns."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PAGE = resource.getpagesize()
WORKED = 0.2  # share of CPU time: a process that got less has not had its time
AGAIN_S = 0.1


@contextmanager
def limited(seconds: float, size: int | None = None) -> Iterator[None]:
    """Limit the block to this much time, and the growth of the process to this many bytes (None: no limit).

    Time is wall time, even while the kernel works for it (filling memory); on a busy machine it extends until the
    process has used a fifth of it as CPU time, so one that waits or is stopped is not ended. Raises TimeoutError,
    MemoryError. The timer works only in the main thread; in others only memory is limited.
    """
    with _bounded(size):
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        began = time.monotonic()
        end, worked = began + seconds, time.process_time() + WORKED * seconds

        def check(*_: Any) -> None:
            if time.monotonic() >= end and time.process_time() >= worked:
                raise TimeoutError

        before = signal.signal(signal.SIGALRM, check)
        remaining, again = signal.setitimer(
            signal.ITIMER_REAL, seconds, AGAIN_S
        )  # an enclosing limit, or another's timer
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            left = max(remaining - (time.monotonic() - began), AGAIN_S) if remaining else 0.0
            signal.setitimer(signal.ITIMER_REAL, left, again)


@contextmanager
def _bounded(size: int | None) -> Iterator[None]:
    """Limit the growth of the process to this many bytes."""
    if size is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _size() + size
    most = most if soft == resource.RLIM_INFINITY else min(most, soft)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _size() -> int:
    """Return the size of this process's address space in bytes."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * PAGE
    except OSError:
        return 1 << 46  # not Linux: memory is not limited
