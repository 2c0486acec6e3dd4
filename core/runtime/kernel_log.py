"""What the kernel's log says of processes that it killed for lack of memory, where this user may read it."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

LOG = Path("/dev/kmsg")
RECORD = 8192  # bytes; a read returns one record
MOST_RECORDS = 100_000
FIRST_NAMESPACE = "pid:[4026531836]"  # of processes whose numbers are those of the kernel's log
EARLIER_S = 1.0  # the kernel's clock and ours differ
# `Memory cgroup out of memory: Killed process 9 (python) total-vm:8kB, anon-rss:4kB, file-rss:2kB, shmem-rss:0kB`
_KILLED = re.compile(
    rb"^\d+,\d+,(?P<at>\d+),.*?;(?P<group>Memory cgroup )?[Oo]ut of memory.*: Killed process (?P<pid>\d+) "
    rb"\((?P<name>.{0,40}?)\)(?:.*?anon-rss:(?P<held>\d+)kB)?"
)


class MemoryKill(NamedTuple):
    """A process that the kernel killed, and how much memory it held; `of_group`: its cgroup's was short."""

    pid: int
    name: str
    held_kib: int
    of_group: bool


def memory_kill_of(pids: Collection[int], since: float) -> MemoryKill | None:
    """Return the last of some processes that was killed for lack of memory since then; None if none is known to be."""
    try:
        if str(Path("/proc/self/ns/pid").readlink()) != FIRST_NAMESPACE:
            return None  # a container: the log names other numbers
        log = os.open(LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None  # not Linux, or only root may read it
    earliest = since - EARLIER_S - (time.time() - time.clock_gettime(time.CLOCK_MONOTONIC))
    found = None
    try:
        for _ in range(MOST_RECORDS):
            try:
                record = os.read(log, RECORD)
            except BrokenPipeError:
                continue  # it was overwritten meanwhile
            match = _KILLED.match(record)
            if match is not None and int(match["pid"]) in pids and int(match["at"]) / 1e6 >= earliest:
                name = match["name"].decode("utf-8", "replace")
                found = MemoryKill(int(match["pid"]), name, int(match["held"] or 0), bool(match["group"]))
    except OSError:  # its end
        pass
    finally:
        os.close(log)
    return found
