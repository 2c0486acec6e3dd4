"""What the supervisor needs of whatever runs jobs: this machine (local.py), or a cluster's own queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from finetop.core.protocol.messages.machine import NodeRow
from finetop.core.protocol.messages.runs import ProcessRow
from finetop.core.runtime.failures import Cause

Signal = Literal["stop", "kill", "stacks"]  # save and exit; end the whole tree; write the stacks into the log
Trace = Literal["none", "here", "restarted"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a job: which, and the folder that the job is told in."""

    job: int
    folder: Path
    number: int


@dataclass(frozen=True)
class Exit:
    """How an attempt ended, as whatever watched it wrote down."""

    code: int | None
    signal: int | None
    ended: float
    peak_memory_kib: int
    oom_kills: int | None = (
        None  # of its processes, by the kernel, in its last seconds; None: it does not count
    )
    memory_limit_kib: int = 0  # what it could use; 0 if unknown
    ran_s: float | None = None  # by a clock that nobody sets; None: it could not be started
    goes_on: bool = False  # a cluster is to start it again
    why: str = ""  # a cluster ended it: preempted, time_limit
    cause: Cause | None = None  # where a cluster's queue says why it ended


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt is that does not run on this machine: in a cluster's queue, and why; or on which nodes."""

    waits: str = ""
    nodes: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at an attempt shows."""

    exit: Exit | None
    is_alive: bool
    size: int  # of its events, looked at last: when a job has ended, that is all of them
    place: Place | None = None  # None: on this machine


@dataclass(frozen=True, slots=True)
class Batch:
    """How a job goes into a cluster's queue."""

    name: str
    options: tuple[str, ...]
    array: str = ""  # jobs of one array go in together: its name
    at_once: int | None = None  # of an array


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of an attempt have used so far, and how its main one stands."""

    cpu_s: float
    bytes_moved: int
    is_stopped: bool  # by a signal
    waits_for_device: bool


@dataclass(frozen=True, slots=True)
class Warm:
    """Whether a process waits for the next training job, and how many died in a row while they did."""

    waits: bool
    failures: int = 0
    pid: int | None = None  # once it is ready


class Launcher(Protocol):
    """Runs jobs. What touches run folders may take long, and is called in a thread (io_thread.py).

    Methods raise OSError where a folder can't be looked at: who lives is not dead then.
    """

    def submit(
        self,
        attempt: Attempt,
        environment: dict[str, str],
        *,
        may_be_warm: bool = False,
        batch: Batch | None = None,
    ) -> bool:
        """Start an attempt: by the process that waits if it may; with `batch` in a cluster's queue.

        False when an earlier one still holds the job.
        """

    def list(self, attempts: Sequence[Attempt]) -> dict[int, Look]:
        """Look at the attempts, by their jobs' numbers."""

    def is_alive(self, folder: Path) -> bool:
        """Say whether a job lives, in whichever attempt."""

    def revoke(self, attempt: Attempt) -> bool:
        """Have an attempt that never came to life leave if it comes late. False when it did come to life."""

    def signal(self, attempt: Attempt, what: Signal) -> bool:
        """Ask for something. False where nobody is there (yet) to be asked."""

    def cancel(self, attempt: Attempt, waited_s: float) -> None:
        """See that an attempt ends that was to be killed so long ago."""

    def logs(self, folder: Path) -> Path:
        """Name the file that a job's output goes to."""

    def trace(self, attempt: Attempt) -> Trace:
        """Say what an attempt without an exit record has left: nothing, a trace, or one of before a restart."""

    def clear(self, attempt: Attempt) -> int:
        """End what a lost attempt has left behind. Returns the size of its events, which nobody writes any more."""

    def usage(self, attempts: Sequence[Attempt]) -> dict[int, Usage]:
        """Say what the processes of attempts use, by their jobs' numbers; those without any are left out."""

    def processes(self, attempts: Sequence[Attempt]) -> Sequence[ProcessRow]:
        """List the processes of attempts, for who looks at a run."""

    def owners(self, attempts: Sequence[Attempt], pids: set[int]) -> Mapping[int, int]:
        """Say which of these processes belong to which job."""

    def nodes(self) -> Sequence[NodeRow]:
        """List the nodes of the cluster, as last heard of; nothing without one."""

    def trouble(self) -> str:
        """Say that a cluster does not answer; nothing while it does, or there is none."""

    def tend(self) -> bool:
        """Take notice of what has ended. Returns whether the process that waits is among it."""

    def warm_up(self, environment: dict[str, str]) -> None:
        """Have a process import everything in this environment, and wait for the next training job."""

    def warm(self) -> Warm:
        """Say whether a process waits."""

    def let_go(self) -> bool:
        """End the process that waits. False where none does."""
