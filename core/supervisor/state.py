"""The supervisor's state in memory. All else is in the store; a new supervisor needs nothing from the old."""

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
from finetop.core.supervisor.gpus.monitor import TimedReading, Watch
from finetop.core.supervisor.gpus.placement import Decision, Want
from finetop.core.supervisor.gpus.usage import Use
from finetop.core.supervisor.launchers.launcher import Attempt, Launcher, Place
from finetop.core.supervisor.launchers.local import LocalLauncher
from finetop.core.supervisor.launchers.slurm import SlurmLauncher

TRY_AGAIN_S = 60.0  # before looking again for a driver that was missing


class Sample(NamedTuple):
    """One GPU at one reading."""

    busy: int | None
    ours_gib: float
    others_gib: float


@dataclass
class Pool:
    """The state of the GPUs in memory."""

    watch: Watch | None = None  # None: no driver
    tried_at: float = -TRY_AGAIN_S  # when a driver was last searched (monotonic)
    newest: TimedReading | None = None  # the newest one taken in
    stale_until: float = 0.0  # an older reading does not know that a job has ended
    uses: dict[str, Use] = field(default_factory=dict)
    history: dict[str, deque[Sample]] = field(default_factory=dict)
    planner: Planner | None = None
    wants: dict[int, Want] = field(default_factory=dict)  # of waiting jobs
    lost_at: dict[int, float] = field(default_factory=dict)  # live job -> when its GPU was lost (monotonic)
    decision: Decision = field(default_factory=lambda: Decision({}, {}, {}))
    shares: dict[tuple[int, int], GpuShare] = field(default_factory=dict)  # what (live job, attempt) heard
    shares_of: tuple[object, ...] = ()  # inputs of these shares, once all are written
    # chats -> the run that could start without them; None: not known yet
    in_the_way: dict[int, str] | None = None
    usable: tuple[object, ...] = ()  # the driver and GPUs that torch was found to fit
    decided: tuple[object, ...] = ()  # inputs of the decision, if it stands until they change

    @property
    def seen(self) -> GpuReading:
        return self.newest.seen if self.newest is not None else GpuReading()

    @property
    def has_looked(self) -> bool:
        """Whether it is known which GPUs exist: from a reading, or because there is no driver."""
        return self.newest is not None or (self.watch is None and self.tried_at >= 0)

    @property
    def is_in_charge(self) -> bool:
        """Whether GPUs are assigned to jobs: there is a driver, and it listed a GPU or has not answered."""
        return self.watch is not None and (self.newest is None or bool(self.seen.gpus or self.seen.trouble))


@dataclass
class ProcessUse:
    """What a job's processes had used at one moment of its silence."""

    at: float  # seconds of silence
    cpu_s: float
    bytes: int


@dataclass
class Vital:
    """The silence of one attempt of a job since its last event."""

    attempt: int
    size: int  # of its events
    silent_s: float = 0.0
    stopped_s: float = 0.0
    uses: deque[ProcessUse] = field(default_factory=lambda: deque(maxlen=32))
    asked_at: float | None = None  # seconds of silence when its stacks were requested
    log_size: int = 0  # size of its log at that time
    shown_s: float = 0.0  # the silence last shown
    is_reported: bool = False  # by a notice, if it is not called hung


@dataclass
class Room:
    """The state of the home's disk."""

    space: DiskSpace = field(default_factory=DiskSpace)
    words: str = ""  # what is wrong with it, or ''
    need: float = 0.0  # bytes that the live runs will save next
    looked_at: float = -math.inf


@dataclass
class OnItsWay:
    """A message being sent; the task returns whether it was accepted, and the output."""

    message: Message
    task: asyncio.Task[tuple[bool, str]]


@dataclass
class Teller:
    seen: int = -1  # revision at which notices were last gathered
    newest: int = 0  # id of the newest notice
    gather_at: float = 0.0  # when the next waiting ones may be sent
    looked: dict[str, int] = field(default_factory=dict)  # way -> the newest notice when last looked
    send_at: dict[str, float] = field(default_factory=dict)  # way -> when its next message is due
    on_their_way: dict[str, OnItsWay] = field(default_factory=dict)  # by way: one at a time

    def wait(self, way: str, until: float = math.inf) -> None:
        """Let a way wait until a moment, or until there is something new."""
        self.looked[way], self.send_at[way] = self.newest, until

    def may_send(self, way: str, now: float) -> bool:
        """Return True if it is time to read the way's next message."""
        return self.looked.get(way) != self.newest or now >= self.send_at.get(way, 0.0)


@dataclass
class Chats:
    """What the supervisor alone knows of open chats, by their jobs."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while a line is appended to their asks
    keys: dict[int, dict[int, str]] = field(default_factory=dict)  # of their endpoints, until the job starts
    read_at: dict[int, float] = field(default_factory=dict)  # when somebody last read (monotonic)
    ends_at: dict[int, float] = field(default_factory=dict)  # announced end, for another job; 0: none


@dataclass
class Supervisor:
    home: Home
    connection: Connection
    started: float = field(default_factory=time.time)
    queries: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_A_TIME))
    # revisions differ from an earlier supervisor's, so a waiting client notices the new one
    revision: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    changed_at: int = 0  # revision at which all runs may have changed; later ones of single runs are below
    run_changed_at: dict[int, int] = field(default_factory=dict)
    trouble: str = ""  # what is wrong with the supervisor or its machine, or ''
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    recording: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while records are written
    looking_ahead: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while a plan is made
    recorded: int = -1  # revision at which records were last written
    seen: int = 0  # revision at which the next four were read
    live: list[Job] = field(default_factory=list)
    queued: list[Job] = field(default_factory=list)
    waiting: dict[int, str] = field(default_factory=dict)  # runs that wait for another's end, with the reason
    is_held: bool = False  # the whole queue
    quiet_until: float | None = None  # end of the current quiet hours
    why: dict[int, str] = field(default_factory=dict)  # why jobs wait by the queue's rules (queue/ready.py)
    unplaced: dict[int, str] = field(default_factory=dict)  # why ready jobs have no place to run
    newer: dict[int, str] = field(default_factory=dict)  # jobs whose events only a newer finetop reads
    read_to: dict[int, int] = field(default_factory=dict)  # job -> size of its events when all were ingested
    behind: list[int] = field(default_factory=list)  # jobs with more events than a beat reads, next first
    places: dict[int, Place] = field(default_factory=dict)  # of live jobs on the cluster
    signalled: set[tuple[int, int, str]] = field(default_factory=set)  # (job, attempt, signal) already sent
    settings: Settings = field(default_factory=Settings)
    settings_seen: tuple[int, ...] = ()  # identity and times of the file; empty: it must be read
    settings_fault: str = ""
    vitals: dict[int, Vital] = field(default_factory=dict)  # of each live job
    vitals_at: float = field(default_factory=time.monotonic)  # when they were last updated
    killing: dict[tuple[int, int], float] = field(default_factory=dict)  # (job, attempt) -> since when
    # (job, attempt) -> when it was first looked for in vain, by a clock that nobody sets
    missed: dict[tuple[int, int], float] = field(default_factory=dict)
    # (job, attempt) -> tries, each of which is False if it took too long
    last_reads: dict[tuple[int, int], list[asyncio.Task[bool]]] = field(default_factory=dict)
    read_out: set[tuple[int, int]] = field(default_factory=set)  # (job, attempt) whose last reads have ended
    asked_at: float = field(default_factory=time.monotonic)  # last request of any client
    busy_at: float = field(default_factory=time.monotonic)  # when a job last ran or waited
    looked_at: float = 0.0  # when free memory was last read
    teller: Teller = field(default_factory=Teller)
    room: Room = field(default_factory=Room)  # on the home's disk
    pool: Pool = field(default_factory=Pool)  # the GPUs and their jobs
    chats: Chats = field(default_factory=Chats)
    launcher: Launcher = field(init=False)  # runs the jobs

    def __post_init__(self) -> None:
        self.changed_at = self.revision
        self.launcher = SlurmLauncher(LocalLauncher(self.home.root))

    def occupying(self) -> list[Job]:
        """List the live jobs whose processes may still run: of the others, the last numbers are being read."""
        return [job for job in self.live if not self.last_reads.get((job.id, job.attempt))]

    def here(self) -> list[Job]:
        """List the live jobs on this machine."""
        return [job for job in self.live if job.id not in self.places]

    def attempt(self, job: Job) -> Attempt:
        """Return a job's newest attempt, as launchers identify it."""
        return Attempt(job.id, self.home.root / job.folder, job.attempt)

    def touch(self, runs: Iterable[int] | None = None) -> None:
        """Notify waiting clients of a change: of these runs, or possibly of any."""
        self.revision += 1
        if runs is None:
            self.changed_at, self.run_changed_at = self.revision, {}
        else:
            self.run_changed_at.update(dict.fromkeys(runs, self.revision))
        self.changed.set()
        self.changed = asyncio.Event()

    def revision_of(self, run: int) -> int:
        """Return the last revision at which a run may have changed."""
        return self.run_changed_at.get(run, self.changed_at)
