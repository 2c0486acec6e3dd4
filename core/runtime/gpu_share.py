"""What this job may use of its GPUs' memory, and beside whom: the supervisor says it, and again while the job runs.

A job alone on its GPUs has all of them, whatever its plan said. Beside another it may take what that one leaves: an
estimate that is short costs nothing while there is room, and a job that keeps to its plan never fails for its
neighbour. What is held here is of the whole process, as the allocator's limit is, so that a failure can name it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from finetop.core.runtime.files import read_own, write_whole

if TYPE_CHECKING:
    from pathlib import Path

FILE = "gpu.json"  # in the job's folder


class GpuShare(msgspec.Struct, frozen=True):
    """What a job's neighbours leave it, as its supervisor counts them."""

    gib: float | None = None  # of each GPU's memory, at most; None: all of it
    beside: tuple[str, ...] = ()  # the runs that have the rest
    jobs_on: tuple[int, ...] = ()  # on each of its GPUs, with itself


@dataclass(frozen=True)
class Limit:
    """The most memory that a job may hold on a GPU, and whose word that is."""

    gib: float | None = None  # None: all that the GPU has
    beside: tuple[str, ...] = ()  # what these runs leave; none: budget.memory_gib


def tell(job_folder: Path, share: GpuShare) -> None:
    """Write down what a job's neighbours leave it. Raises OSError."""
    write_whole(job_folder / FILE, msgspec.json.encode(share))


def limit_of(share: GpuShare, budget_gib: float | None) -> Limit:
    """Return the lower of what a person wrote and what the neighbours leave."""
    if budget_gib is not None and (share.gib is None or budget_gib <= share.gib):
        return Limit(budget_gib)
    return Limit() if share.gib is None else Limit(share.gib, share.beside)


@dataclass
class _Own:
    """What this process was told."""

    folder: Path | None = None
    budget_gib: float | None = None
    share: GpuShare = field(default_factory=GpuShare)
    content: bytes = b""  # of the file, when it was last read


_own = _Own()


def begin(job_folder: Path, budget_gib: float | None) -> None:
    """Take in what a job is told at its start: by its recipe, and of its neighbours."""
    _own.folder, _own.budget_gib, _own.share, _own.content = job_folder, budget_gib, GpuShare(), b""
    look()


def look() -> bool:
    """Read again what the supervisor says of the neighbours; returns whether the limit has changed."""
    if _own.folder is None:
        return False
    before = limit()
    try:
        content = read_own(_own.folder / FILE)
        if content != _own.content:
            _own.share, _own.content = msgspec.json.decode(content, type=GpuShare), content
    except (OSError, msgspec.DecodeError):
        return (
            False  # none was written: no supervisor, or no GPU of its own; a disk that fails changes nothing
        )
    return limit() != before


def limit() -> Limit:
    """Return the limit that this process keeps to."""
    return limit_of(_own.share, _own.budget_gib)


def is_shared() -> bool:
    """Return whether another job is on any of this job's GPUs."""
    return any(jobs > 1 for jobs in _own.share.jobs_on)


def jobs_on(gpu: int) -> int:
    """Count the jobs on one of this job's GPUs, this one among them."""
    told = _own.share.jobs_on
    return max(1, told[gpu]) if gpu < len(told) else 1
