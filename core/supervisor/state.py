"""What the supervisor holds in memory. All else is in the store; a new supervisor needs nothing from the old."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import duckdb

from finetop.core.recipe.home_settings import Settings
from finetop.core.runtime.home import Home
from finetop.core.store.jobs import Job
from finetop.core.supervisor.gpus.pool import Pool
from finetop.core.supervisor.jobs.disk_watch import Room
from finetop.core.supervisor.jobs.liveness import Vital
from finetop.core.supervisor.notify.state import Teller
from finetop.core.supervisor.warm_process import Spare


@dataclass
class Supervisor:
    home: Home
    connection: duckdb.DuckDBPyConnection
    started: float = field(default_factory=time.time)
    # a new supervisor's numbers differ from the old one's, so a waiting client notices
    revision: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    changed_at: int = 0  # the revision at which all runs may have changed; a later one of a run is below
    run_changed_at: dict[int, int] = field(default_factory=dict)
    trouble: str = ""  # what is wrong with the whole, in words; empty when all is well
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    recording: asyncio.Lock = field(default_factory=asyncio.Lock)  # held by who writes records
    looking_ahead: asyncio.Lock = field(default_factory=asyncio.Lock)  # held by the one plan that is made
    recorded: int = -1  # the revision at which records were last written
    seen: int = 0  # the revision at which the next four were read
    live: list[Job] = field(default_factory=list)
    queued: list[Job] = field(default_factory=list)
    waiting: dict[int, str] = field(default_factory=dict)  # runs that wait for another's end: in words
    is_held: bool = False  # the whole queue
    quiet_until: float | None = None  # in quiet hours, when they end
    why: dict[int, str] = field(
        default_factory=dict
    )  # why jobs wait by the queue's rules (supervisor/queue/waiting.py)
    unplaced: dict[int, str] = field(default_factory=dict)  # why jobs that may start have no place to run
    newer: dict[int, str] = field(
        default_factory=dict
    )  # jobs whose events only a newer finetop reads: in words
    read_to: dict[int, int] = field(default_factory=dict)  # job -> size of its events when all were taken in
    behind: list[int] = field(default_factory=list)  # jobs that told more than a beat takes in, next first
    keepers: list[subprocess.Popen[bytes]] = field(default_factory=list)  # ours, to be reaped
    signalled: set[tuple[int, int, str]] = field(default_factory=set)  # (job, attempt, what) that was sent
    settings: Settings = field(default_factory=Settings)
    settings_seen: tuple[int, int] = (0, 0)  # when the file was changed, and its size
    settings_fault: str = ""
    vitals: dict[int, Vital] = field(default_factory=dict)  # of each live job
    vitals_at: float = field(default_factory=time.monotonic)  # when they were last looked at
    killing: dict[tuple[int, int], float] = field(
        default_factory=dict
    )  # (job, attempt) -> since when it is to end
    missed: dict[tuple[int, int], float] = field(
        default_factory=dict
    )  # (job, attempt) -> when its keeper was first looked for in vain, by a clock that nobody sets
    spare: Spare | None = None  # the process that waits for the next training job
    spare_failures: int = 0  # in a row
    asked_at: float = field(default_factory=time.monotonic)  # when somebody last asked anything
    busy_at: float = field(default_factory=time.monotonic)  # when a job last ran or waited
    looked_at: float = 0.0  # at the memory
    teller: Teller = field(default_factory=Teller)
    room: Room = field(default_factory=Room)  # on the home's disk
    pool: Pool = field(default_factory=Pool)  # the GPUs, and who is on them

    def __post_init__(self) -> None:
        self.changed_at = self.revision

    def touch(self, runs: Iterable[int] | None = None) -> None:
        """Tell waiting clients that something changed: of these runs alone, else perhaps of any."""
        self.revision += 1
        if runs is None:
            self.changed_at, self.run_changed_at = self.revision, {}
        else:
            self.run_changed_at.update(dict.fromkeys(runs, self.revision))
        self.changed.set()
        self.changed = asyncio.Event()

    def revision_of(self, run: int) -> int:
        """Say at which revision something of a run may have changed last."""
        return self.run_changed_at.get(run, self.changed_at)
