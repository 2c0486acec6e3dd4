"""Reads the GPUs every two seconds in a thread: NVML may block, the supervisor must not.

The thread is a daemon, so a call that never returns does not keep the supervisor from ending.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from finetop.core.runtime.gpu import Gpu, GpuReading
from finetop.core.runtime.gpus import NvidiaReader, sees_all_processes
from finetop.core.supervisor.launchers.launcher import Attempt, Launcher

LOOK_S = 2.0
AGAIN_S = 10.0  # after trouble: opening NVML again may take a second


@dataclass(frozen=True)
class TimedReading:
    """One reading of the GPUs, when it began (monotonic), and the jobs that own the processes."""

    began: float
    seen: GpuReading
    owners: Mapping[int, int]  # process -> our job
    sees_all: bool = True


def forgiven(reading: GpuReading) -> GpuReading:
    """Return a reading in which past memory errors of a GPU are no fault."""
    cards = (replace(gpu, fault="", trouble="") if gpu.is_past else gpu for gpu in reading.gpus)
    return replace(reading, gpus=tuple(cards))


class Watch:
    """The thread and its newest reading."""

    def __init__(self, nvml: Any, launcher: Launcher, known: Iterable[Gpu] = ()) -> None:
        self.last: TimedReading | None = None
        self.began = time.monotonic()  # start of the reading under way, or of the last one
        self.live: tuple[Attempt, ...] = ()  # set by the pool
        self.forgives = False  # also: a GPU that had memory errors is fit
        self._launcher = launcher
        self._reader = NvidiaReader(nvml, known)
        self._wake = threading.Event()
        self._sees_all = sees_all_processes()
        threading.Thread(target=self._run, name="gpus", daemon=True).start()

    def soon(self) -> None:
        """Read again without waiting."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            self.began = time.monotonic()
            try:
                reading = self._reader.read()
                reading = forgiven(reading) if self.forgives else reading
                listed = {process.pid for gpu in reading.gpus for process in gpu.processes or ()}
                owners = self._launcher.owners(self.live, listed)
            except Exception as error:  # a bug, or nonsense from the driver: reported and retried
                traceback.print_exc(file=sys.stderr)
                reading, owners = GpuReading(trouble=f"the GPUs can't be read: {error!r}"), {}
            self.last = TimedReading(self.began, reading, owners, self._sees_all)
            is_well = not reading.trouble and not any(gpu.fault == "lost" for gpu in reading.gpus)
            self._wake.wait(LOOK_S if is_well else max(LOOK_S, AGAIN_S))
