"""The supervisor's machine: its GPUs, who is on them, what lies at a path, and what a run would come to there."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from finetop.core.protocol.request import Question


class PathFacts(msgspec.Struct, frozen=True):
    path: str
    kind: Literal["file", "folder", "other", "none"]  # "other" can't be read, or is neither
    size: int  # bytes of a file


class PathsAnswer(msgspec.Struct, frozen=True):
    found: list[PathFacts]


class Paths(Question[PathsAnswer], tag="paths", frozen=True):
    """Ask what lies at absolute paths on the supervisor's machine: a client elsewhere can't look itself."""

    paths: list[str]


class LookAheadAnswer(msgspec.Struct, frozen=True):
    findings: list[dict[str, Any]]  # each a finetop.core.plan.result.Shown


class LookAhead(Question[LookAheadAnswer], tag="look-ahead", frozen=True):
    """Ask what a resolved recipe would come to on the supervisor's machine: its plan, and its first row as rendered.

    It takes seconds: ask it on a connection of its own.
    """

    recipe: dict[str, Any]
    row: bool = True  # whether the first row is wanted


class GpuJob(msgspec.Struct, frozen=True):
    job_id: int
    run: str
    verb: str
    gib: float | None  # of a GPU's memory that is kept for it; None: all, or it is on none
    used_gib: float | None  # None: not told


class GpuProcess(msgspec.Struct, frozen=True):
    """A process of somebody else's; name and user are empty where this user may not know them."""

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
    left_out: str  # by which setting it is not used, in words
    kept_for: str  # the run that it is kept for
    jobs: list[GpuJob]
    others: list[GpuProcess]
    history: list[int | None]  # how busy it was, the newest last


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
    jobs: list[str]  # of this home, by their runs' names


class GpusAnswer(msgspec.Struct, frozen=True):
    gpus: list[GpuRow]
    driver: str
    cuda: str
    trouble: str  # of the driver as a whole
    cores: int
    cpu_jobs: int  # that may run at a time
    on_cpu: list[GpuJob]
    waiting: list[GpuWaiting]  # for GPUs, or for a job to end
    column_s: float  # what one number of a history stands for
    age_s: float  # of the look
    nodes: list[NodeRow] = []  # of the cluster that jobs go to


class Gpus(Question[GpusAnswer], tag="gpus", frozen=True):
    """The GPUs of the supervisor's machine, what is on them, and who waits for them."""
