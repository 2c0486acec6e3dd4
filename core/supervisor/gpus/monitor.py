"""Looks at the GPUs every two seconds, in a thread of its own: NVML may block, the supervisor may not.

The thread is a daemon: a look that never returns does not keep the supervisor from ending.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.runtime import processes
from finetop.core.runtime.gpus import Gpu, GpuReading, Looker, sees_all_processes
from finetop.core.supervisor.jobs import launch_local

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LOOK_S = 2.0
AGAIN_S = 10.0  # after a look that found trouble: opening NVML anew may take a second
DEEPEST = 100  # generations between a process and its keeper


@dataclass(frozen=True)
class Live:
    """A live job, as far as its processes can be found: its keeper writes them down there."""

    job: int
    folder: Path
    attempt: int


@dataclass(frozen=True)
class Look:
    """What one look found, when it began (monotonic), and whose the processes are."""

    began: float
    seen: GpuReading
    owners: Mapping[int, int]  # process -> job of ours
    sees_all: bool = True


class Watch:
    """The thread and its newest look."""

    def __init__(self, nvml: Any, known: Iterable[Gpu] = ()) -> None:
        self.last: Look | None = None
        self.began = time.monotonic()  # the look that is under way, or the last one
        self.live: tuple[Live, ...] = ()  # set by whoever knows
        self._keepers: dict[tuple[int, int], int] = {}
        self._looker = Looker(nvml, known)
        self._wake = threading.Event()
        self._sees_all = sees_all_processes()
        threading.Thread(target=self._run, name="gpus", daemon=True).start()

    def soon(self) -> None:
        """Look again without waiting."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            self.began = time.monotonic()
            try:
                seen = self._looker.look()
                owners = self._owners(seen)
            except Exception as error:  # a bug, or a driver that answers nonsense: said, and tried again
                traceback.print_exc(file=sys.stderr)
                seen, owners = GpuReading(trouble=f"the GPUs can't be read: {error!r}"), {}
            self.last = Look(self.began, seen, owners, self._sees_all)
            is_well = not seen.trouble and not any(gpu.fault == "lost" for gpu in seen.gpus)
            self._wake.wait(LOOK_S if is_well else max(LOOK_S, AGAIN_S))

    def _owners(self, seen: GpuReading) -> dict[int, int]:
        """Find which of the listed processes belong to which job: those below its keeper."""
        live = self.live
        keepers = {}
        for one in live:
            mark = (one.job, one.attempt)
            if mark not in self._keepers:
                record = launch_local.record(one.folder, one.attempt)
                if record is None or record.get("boot") != processes.boot_id():
                    continue
                self._keepers[mark] = int(record["pid"])
            keepers[self._keepers[mark]] = one.job
        self._keepers = {mark: pid for mark, pid in self._keepers.items() if pid in keepers}
        listed = {one.pid for gpu in seen.gpus for one in gpu.processes or ()}
        found = {pid: owner(pid, keepers) for pid in listed} if keepers else {}
        return {pid: job for pid, job in found.items() if job is not None}


def owner(pid: int, keepers: Mapping[int, int]) -> int | None:
    """Walk up from a process to the keeper that it is below: its job, or None."""
    at: int | None = pid
    for _ in range(DEEPEST):
        if at is None or at <= 1:
            return None
        if at in keepers:
            return keepers[at]
        parent = processes.stat_field(at, 1)
        at = None if parent is None else int(parent)
    return None
