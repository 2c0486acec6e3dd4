"""Foreign code that runs in this process, a template or a pattern, held to some time and memory."""

from __future__ import annotations

import resource
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = resource.getpagesize()


WORKED = 0.2  # of the time: a process that got less of the machine meanwhile has not had it
AGAIN_S = 0.1


@contextmanager
def limited(seconds: float, size: int | None = None) -> Iterator[None]:
    """Let what runs inside take so much time, and make the process larger by so many bytes, or by any.

    It is time by the clock, also where the kernel works for it (memory that is filled); on a busy machine it goes on
    until the process has worked for a fifth of that, so one that waits or is stopped is not ended for it. Raises
    TimeoutError, MemoryError. A timer goes with the main thread alone; in another only memory is bounded.
    """
    with _bounded(size):
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        end, worked = time.monotonic() + seconds, time.process_time() + WORKED * seconds

        def look(*_: Any) -> None:
            if time.monotonic() >= end and time.process_time() >= worked:
                raise TimeoutError

        before = signal.signal(signal.SIGALRM, look)
        left, again = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)  # of a limit around this one
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            signal.setitimer(signal.ITIMER_REAL, min(left, AGAIN_S), again)


@contextmanager
def _bounded(size: int | None) -> Iterator[None]:
    """Let the process become larger by so many bytes."""
    if size is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _size() + size
    resource.setrlimit(
        resource.RLIMIT_AS, (most if soft == resource.RLIM_INFINITY else min(most, soft), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _size() -> int:
    """Return this process's address space, in bytes."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * PAGE
    except OSError:
        return 1 << 46  # no Linux: memory is not bounded
