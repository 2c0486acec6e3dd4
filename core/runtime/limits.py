"""Foreign code that runs in this process, a template say, held to some CPU time and memory."""

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
def limited(seconds: float, size: int) -> Iterator[None]:
    """Let what runs inside take so much CPU time, and make the process larger by so many bytes.

    Raises TimeoutError, MemoryError. A timer goes with the main thread alone; in another only memory is bounded.
    """
    is_main = threading.current_thread() is threading.main_thread()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _size() + size
    if soft != resource.RLIM_INFINITY:
        most = min(most, soft)
    before = signal.signal(signal.SIGVTALRM, _over) if is_main else None
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        if is_main:
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        yield
    finally:
        if is_main:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _over(*_: Any) -> None:
    raise TimeoutError


def _size() -> int:
    """Return this process's address space, in bytes."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * PAGE
    except OSError:
        return 1 << 46  # no Linux: memory is not bounded
