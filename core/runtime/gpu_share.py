"""What this job may use of its GPUs' memory, and beside which runs: set by the supervisor, also while the job runs.

A job alone on its GPUs has all of them, whatever was planned. Beside another it may take what that one leaves: a low
estimate costs nothing while there is room, and a job that keeps to its plan never fails because of its neighbour. The
state here is that of the whole process, as is the allocator's limit, so that a failure can name it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from finetop.core.runtime.files import read_own, write_whole

FILE = "gpu.json"  # in the job's folder


class GpuShare(msgspec.Struct, frozen=True):
    """What a job's neighbours leave it, as counted by its supervisor."""

    gib: float | None = None  # limit of each GPU's memory; None: all of it
    beside: tuple[str, ...] = ()  # the runs that have the rest
    jobs_on: tuple[int, ...] = ()  # on each of its GPUs, including itself


@dataclass(frozen=True)
class Limit:
    """The most memory that a job may hold on a GPU, and where that limit comes from."""

    gib: float | None = None  # None: all of the GPU
    beside: tuple[str, ...] = ()  # left by these runs; empty: set by budget.memory_gib


def write_share(job_folder: Path, share: GpuShare) -> None:
    """Write what a job's neighbours leave it. Raises OSError."""
    write_whole(job_folder / FILE, msgspec.json.encode(share))


def limit_of(share: GpuShare, budget_gib: float | None) -> Limit:
    """Return the lower of the user's limit and what the neighbours leave."""
    if budget_gib is not None and (share.gib is None or budget_gib <= share.gib):
        return Limit(budget_gib)
    return Limit() if share.gib is None else Limit(share.gib, share.beside)


@dataclass
class _Own:
    """The limits of this process."""

    folder: Path | None = None
    budget_gib: float | None = None
    share: GpuShare = field(default_factory=GpuShare)
    content: bytes = b""  # of the file, when last read


_own = _Own()


def begin(job_folder: Path, budget_gib: float | None) -> None:
    """Set the limits at a job's start: from its recipe, and from its neighbours."""
    _own.folder, _own.budget_gib, _own.share, _own.content = job_folder, budget_gib, GpuShare(), b""
    refresh()


def refresh() -> bool:
    """Read the neighbours' share again; return whether the limit has changed."""
    if _own.folder is None:
        return False
    before = limit()
    try:
        content = read_own(_own.folder / FILE)
        if content != _own.content:
            _own.share, _own.content = msgspec.json.decode(content, type=GpuShare), content
    except (OSError, msgspec.DecodeError):
        # none was written: no supervisor, or no GPU of its own; a disk that fails changes nothing
        return False
    return limit() != before


def limit() -> Limit:
    """Return the limit of this process."""
    return limit_of(_own.share, _own.budget_gib)


def is_shared() -> bool:
    """Return whether another job is on any of this job's GPUs."""
    return any(jobs > 1 for jobs in _own.share.jobs_on)


def jobs_on(gpu: int) -> int:
    """Return the number of jobs on one of this job's GPUs, including this one."""
    counts = _own.share.jobs_on
    return max(1, counts[gpu]) if gpu < len(counts) else 1
