"""The supervisor's machine: its GPUs and their users, files at a path, and plans of runs on it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from finetop.core.protocol.request import Question


class PathFacts(msgspec.Struct, frozen=True):
    path: str
    kind: Literal["file", "folder", "other", "none"]  # "other" can't be read, or is neither
    size: int  # bytes of a file


class PathsAnswer(msgspec.Struct, frozen=True):
    facts: list[PathFacts] = msgspec.field(name="found")


class Paths(Question[PathsAnswer], tag="paths", frozen=True):
    """Request what is at absolute paths on the supervisor's machine, which a remote client can't read itself."""

    paths: list[str]


class Program(msgspec.Struct, frozen=True):
    """A training program that runs already. `pid` is 0 if no process is known; paths are absolute, or empty."""

    pid: int
    start: str  # when the process started, which tells it from a later one of the same number
    command: list[str] = msgspec.field(name="words")  # secrets are masked
    workdir: str
    output: str
    log: str  # the file that it prints to


class FindProgram(Question[Program], tag="program", frozen=True):
    """Request the program that a process id or an absolute folder of the supervisor's machine belongs to."""

    target: str


class LookAheadAnswer(msgspec.Struct, frozen=True):
    findings: list[dict[str, Any]]  # each a finetop.core.plan.result.Shown


class LookAhead(Question[LookAheadAnswer], tag="look-ahead", frozen=True):
    """Request the plan of a resolved recipe, and its first row as rendered; seconds: on a connection of its own."""

    recipe: dict[str, Any]
    row: bool = True  # include the first row


class GpuJob(msgspec.Struct, frozen=True):
    job_id: int
    run: str
    verb: str
    gib: float | None  # GPU memory reserved for it; None: all, or it uses no GPU
    used_gib: float | None  # None: not available


class GpuProcess(msgspec.Struct, frozen=True):
    """Another user's process; name and user are empty if this user may not see them."""

    pid: int
    name: str
    user: str
    gib: float | None


class GpuRow(msgspec.Struct, frozen=True):
    index: int
    uuid: str
    name: str
    total_gib: float
    ours_gib: float  # used by jobs of this home
    others_gib: float  # by all else
    busy: int | None  # percent
    celsius: int | None
    watts: float | None
    fault: Literal["", "lost", "failing", "unreadable"]
    trouble: str  # the fault in words
    left_out: str  # which setting excludes it, in words
    kept_for: str  # the run that it is reserved for
    jobs: list[GpuJob]
    others: list[GpuProcess]
    history: list[int | None]  # utilization, newest last


class GpuWaiting(msgspec.Struct, frozen=True):
    run: str
    because: str


class NodeRow(msgspec.Struct, frozen=True):
    """A node of the cluster that jobs go to."""

    name: str
    state: str  # idle, mixed, allocated, drained, down …
    partitions: str
    gpus: int
    used: int  # of them
    kind: str  # of them
    reason: str  # why it is drained or down
    jobs: list[str]  # runs of this home


class GpusAnswer(msgspec.Struct, frozen=True):
    gpus: list[GpuRow]
    driver: str
    cuda: str
    trouble: str  # of the driver as a whole
    cores: int
    cpu_jobs: int  # limit on concurrent ones
    on_cpu: list[GpuJob]
    waiting: list[GpuWaiting]  # for GPUs, or for a job to end
    column_s: float  # seconds per number of a history
    age_s: float  # of the reading
    nodes: list[NodeRow] = []  # of the cluster that jobs go to


class Gpus(Question[GpusAnswer], tag="gpus", frozen=True):
    """The GPUs of the supervisor's machine, their jobs, and the jobs that wait for them."""
