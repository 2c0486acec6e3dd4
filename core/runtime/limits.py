"""Foreign code that runs in this process, a template or a pattern, held to some CPU time and memory."""

from __future__ import annotations

import resource
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = resource.getpagesize()


@contextmanager
def limited(seconds: float, size: int | None = None) -> Iterator[None]:
    """Let what runs inside take so much CPU time, and make the process larger by so many bytes, or by any.

    Raises TimeoutError, MemoryError. A timer goes with the main thread alone; in another only memory is bounded.
    """
    with _bounded(size):
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGVTALRM, _over)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)


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


def _over(*_: Any) -> None:
    raise TimeoutError


def _size() -> int:
    """Return this process's address space, in bytes."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * PAGE
    except OSError:
        return 1 << 46  # no Linux: memory is not bounded
