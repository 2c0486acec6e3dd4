"""What the supervisor holds in memory. All else is in the store; a new supervisor needs nothing from the old."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from duckdb import DuckDBPyConnection as Connection

from finetop.core.recipe.home_settings import Settings
from finetop.core.runtime.disk_space import DiskSpace
from finetop.core.runtime.gpu import GpuReading
from finetop.core.runtime.gpu_share import GpuShare
from finetop.core.runtime.home import Home
from finetop.core.store.jobs import Job
from finetop.core.store.notices import Message
from finetop.core.store.sql_query import AT_A_TIME
from finetop.core.supervisor.gpus.job_needs import Planner
from finetop.core.supervisor.gpus.monitor import Look, Watch
from finetop.core.supervisor.gpus.placement import Decision, Want
from finetop.core.supervisor.gpus.usage import Use
from finetop.core.supervisor.launchers.launcher import Attempt, Launcher, Place
from finetop.core.supervisor.launchers.local import LocalLauncher
from finetop.core.supervisor.launchers.slurm import SlurmLauncher

TRY_AGAIN_S = 60.0  # for a driver that was not there


class Sample(NamedTuple):
    """A GPU at one look."""

    busy: int | None
    ours_gib: float
    others_gib: float


@dataclass
class Pool:
    """What the supervisor holds in memory of GPUs."""

    watch: Watch | None = None  # None: no driver is here
    tried_at: float = -TRY_AGAIN_S  # to find one (monotonic)
    look: Look | None = None  # the newest that was taken in
    stale_until: float = 0.0  # a look that began before does not know that a job has ended
    uses: dict[str, Use] = field(default_factory=dict)
    history: dict[str, deque[Sample]] = field(default_factory=dict)
    planner: Planner | None = None
    wants: dict[int, Want] = field(default_factory=dict)  # of waiting jobs
    lost_at: dict[int, float] = field(
        default_factory=dict
    )  # live job -> since when its GPU is lost (monotonic)
    decision: Decision = field(default_factory=lambda: Decision({}, {}, {}))
    told: dict[tuple[int, int], GpuShare] = field(
        default_factory=dict
    )  # (live job, attempt) -> what it has heard
    told_of: tuple[object, ...] = ()  # what that was made of, if all have heard it
    decided: tuple[object, ...] = ()  # what the decision was made of, if it is to stand until that changes

    @property
    def seen(self) -> GpuReading:
        return self.look.seen if self.look is not None else GpuReading()

    @property
    def has_looked(self) -> bool:
        """Whether it is known what is here: by a look, or as there is no driver."""
        return self.look is not None or (self.watch is None and self.tried_at >= 0)

    @property
    def is_in_charge(self) -> bool:
        """Whether it is known which GPUs there are: a driver is here, and has shown one, or should have."""
        return self.watch is not None and (self.look is None or bool(self.seen.gpus or self.seen.trouble))


@dataclass
class ProcessUse:
    """What a job's processes had used at some moment of its silence."""

    at: float  # seconds of silence
    cpu_s: float
    bytes: int


@dataclass
class Vital:
    """What is known of one attempt of a job since it last told an event."""

    attempt: int
    size: int  # of its events
    silent_s: float = 0.0
    stopped_s: float = 0.0
    uses: deque[ProcessUse] = field(default_factory=lambda: deque(maxlen=32))
    asked_at: float | None = None  # seconds of silence at which its stacks were asked for
    log_size: int = 0  # then
    shown_s: float = 0.0  # the silence that is shown


@dataclass
class Room:
    """What is known of the disk."""

    space: DiskSpace = field(default_factory=DiskSpace)
    words: str = ""  # what is wrong with it; empty when nothing is
    need: float = 0.0  # bytes that the live runs save next
    looked_at: float = -math.inf


@dataclass
class OnItsWay:
    """A message whose process runs; its result says whether it was taken, and what was said of it."""

    message: Message
    task: asyncio.Task[tuple[bool, str]]


@dataclass
class Teller:
    seen: int = -1  # the revision at which notices were last looked for
    newest: int = 0  # number of the newest notice
    gather_at: float = 0.0  # when those that wait may be told
    looked: dict[str, int] = field(
        default_factory=dict
    )  # way -> the newest notice when messages were last looked for
    send_at: dict[str, float] = field(default_factory=dict)  # way -> when its next message is due
    on_their_way: dict[str, OnItsWay] = field(default_factory=dict)  # by way: one at a time

    def wait(self, way: str, until: float = math.inf) -> None:
        """Let a way rest until some moment, or until there is something new."""
        self.looked[way], self.send_at[way] = self.newest, until

    def may_send(self, way: str, now: float) -> bool:
        """Say whether it is time to look for a message to send."""
        return self.looked.get(way) != self.newest or now >= self.send_at.get(way, 0.0)


@dataclass
class Supervisor:
    home: Home
    connection: Connection
    started: float = field(default_factory=time.time)
    queries: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_A_TIME))
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
    )  # why jobs wait by the queue's rules (supervisor/queue/ready.py)
    unplaced: dict[int, str] = field(default_factory=dict)  # why jobs that may start have no place to run
    newer: dict[int, str] = field(
        default_factory=dict
    )  # jobs whose events only a newer finetop reads: in words
    read_to: dict[int, int] = field(default_factory=dict)  # job -> size of its events when all were taken in
    behind: list[int] = field(default_factory=list)  # jobs that told more than a beat takes in, next first
    places: dict[int, Place] = field(default_factory=dict)  # of live jobs that are not on this machine
    signalled: set[tuple[int, int, str]] = field(default_factory=set)  # (job, attempt, what) that was sent
    settings: Settings = field(default_factory=Settings)
    settings_seen: tuple[int, ...] = ()  # which file it was, and when it was changed; empty: it is to be read
    settings_fault: str = ""
    vitals: dict[int, Vital] = field(default_factory=dict)  # of each live job
    vitals_at: float = field(default_factory=time.monotonic)  # when they were last looked at
    killing: dict[tuple[int, int], float] = field(
        default_factory=dict
    )  # (job, attempt) -> since when it is to end
    missed: dict[tuple[int, int], float] = field(
        default_factory=dict
    )  # (job, attempt) -> when it was first looked for in vain, by a clock that nobody sets
    asked_at: float = field(default_factory=time.monotonic)  # when somebody last asked anything
    busy_at: float = field(default_factory=time.monotonic)  # when a job last ran or waited
    looked_at: float = 0.0  # at the memory
    teller: Teller = field(default_factory=Teller)
    room: Room = field(default_factory=Room)  # on the home's disk
    pool: Pool = field(default_factory=Pool)  # the GPUs, and who is on them

    launcher: Launcher = field(init=False)  # what runs the jobs

    def __post_init__(self) -> None:
        self.changed_at = self.revision
        self.launcher = SlurmLauncher(LocalLauncher(self.home.root))

    def here(self) -> list[Job]:
        """List the live jobs of this machine."""
        return [job for job in self.live if job.id not in self.places]

    def attempt(self, job: Job) -> Attempt:
        """Name a job's newest attempt, as launchers know it."""
        return Attempt(job.id, self.home.root / job.folder, job.attempt)

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
