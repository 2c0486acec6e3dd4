"""What the supervisor needs of whatever runs jobs: this machine (local.py), or a cluster's own queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from finetop.core.protocol.messages.machine import NodeRow
from finetop.core.protocol.messages.runs import ProcessRow
from finetop.core.runtime.causes import Cause
from finetop.core.runtime.kernel_log import MemoryKill

Signal = Literal["stop", "kill", "stacks"]  # save and exit; kill the whole tree; write the stacks to the log
Trace = Literal["none", "here", "restarted"]
Variables = dict[str, str]  # of a process's environment


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a job and the job's folder."""

    job: int
    folder: Path
    number: int


@dataclass(frozen=True)
class Exit:
    """How an attempt ended, as recorded by its keeper or by Slurm."""

    code: int | None
    signal: int | None
    ended: float
    peak_memory_kib: int
    oom_kills: int | None = None  # of its processes, by the kernel, in its last seconds; None: no count
    memory_limit_kib: int = 0  # its limit; 0 if unknown
    memory_kill: MemoryKill | None = None  # of its own processes, by the kernel's log
    ran_s: float | None = None  # by a clock that nobody sets; None: it could not be started
    goes_on: bool = False  # the cluster will start it again
    why: str = ""  # why a cluster ended it: preempted, time_limit
    cause: Cause | None = None  # if the cluster's queue says why it ended


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt is that went to a cluster: why it waits in the queue, or on which nodes it runs."""

    waits: str = ""
    nodes: str = ""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The observed status of an attempt."""

    exit: Exit | None
    is_alive: bool
    size: int  # of its events, read last: final once a job has ended
    place: Place | None = None  # None: on this machine


@dataclass(frozen=True, slots=True)
class Batch:
    """How a job is submitted to a cluster's queue."""

    name: str
    options: tuple[str, ...]
    array: str = ""  # name of the array: jobs of one array are submitted together
    at_once: int | None = None  # limit of an array


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt's processes have used so far, and the state of the main one."""

    cpu_s: float
    bytes_moved: int
    is_stopped: bool  # by a signal
    waits_for_device: bool


@dataclass(frozen=True, slots=True)
class Warm:
    """Whether a process waits for the next training job, and how many waiting ones died in a row."""

    waits: bool
    failures: int = 0
    pid: int | None = None  # once it is ready


class Launcher(Protocol):
    """Runs jobs. Methods that touch run folders may block, and are called in a thread (io_thread.py).

    They raise OSError if a folder can't be read: a job is not declared dead then.
    """

    def submit(
        self, attempt: Attempt, variables: Variables, *, may_be_warm: bool = False, batch: Batch | None = None
    ) -> bool:
        """Start an attempt: in the waiting process if allowed; with `batch`, in a cluster's queue.

        Return False if an earlier attempt still holds the job.
        """

    def list(self, attempts: Sequence[Attempt]) -> dict[int, JobStatus]:
        """Return the status of each attempt, by job id."""

    def is_alive(self, folder: Path) -> bool:
        """Return True if any attempt of a job lives."""

    def revoke(self, attempt: Attempt) -> bool:
        """Make an attempt that never came to life exit if it starts late. Return False if it did come to life."""

    def signal(self, attempt: Attempt, kind: Signal) -> bool:
        """Send a request. Return False if no process is there (yet) to receive it."""

    def cancel(self, attempt: Attempt, waited_s: float) -> None:
        """Make sure that an attempt ends whose kill was requested `waited_s` ago."""

    def logs(self, folder: Path) -> Path:
        """Return the file of a job's output."""

    def trace(self, attempt: Attempt) -> Trace:
        """Return what an attempt without an exit record left: nothing, a trace, or one from before a restart."""

    def clear(self, attempt: Attempt) -> int:
        """End what a lost attempt left behind. Return the size of its events, which no process writes any more."""

    def usage(self, attempts: Sequence[Attempt]) -> dict[int, Usage]:
        """Return what the attempts' processes use, by job id; those without processes are left out."""

    def processes(self, attempts: Sequence[Attempt]) -> Sequence[ProcessRow]:
        """List the processes of attempts."""

    def owners(self, attempts: Sequence[Attempt], pids: set[int]) -> Mapping[int, int]:
        """Map those of these processes that belong to a job to its id."""

    def nodes(self) -> Sequence[NodeRow]:
        """List the cluster's nodes as last heard; empty without a cluster."""

    def trouble(self) -> str:
        """Return a message if the cluster does not answer, else ''."""

    def tend(self) -> bool:
        """Reap processes that have ended. Return True if the waiting process is among them."""

    def warm_up(self, variables: Variables) -> None:
        """Start a process that imports everything in this environment and waits for the next training job."""

    def warm(self) -> Warm:
        """Return the state of the waiting process."""

    def let_go(self) -> bool:
        """End the waiting process. Return False if there is none."""
