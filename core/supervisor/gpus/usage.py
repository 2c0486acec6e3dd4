"""Who uses a GPU's memory, our jobs or others. Pure functions.

Exact where the driver lists processes that we know. In a container it may list none, or number them as the host does:
then everything up to our jobs' limits counts as theirs, and the rest as others'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from finetop.core.protocol.runs import RELEASED_GIB, Share
from finetop.core.runtime.gpu import Gpu, Process

Held = tuple[int, Share]  # a job's id and its share
CONTEXT_GIB = 1.0  # of CUDA in a process: 0.3 to 0.6 GiB by card and libraries


@dataclass(frozen=True)
class Use:
    """How much of a GPU's memory is used, and by whom."""

    ours_gib: float
    others_gib: float
    by_job: Mapping[int, float | None]  # memory of each of our jobs on it; None: not available
    others: tuple[Process, ...]  # other people's processes, if listed


def use_of(gpu: Gpu, held: Sequence[Held], owners: Mapping[int, int], *, sees_all: bool) -> Use:
    """Divide a GPU's used memory; `owners` maps processes to our jobs. `sees_all`: no container renumbers them."""
    our_shares = [(job, share) for job, share in held if share.uuid == gpu.uuid]
    listed = gpu.processes or ()
    own = [process for process in listed if process.pid in owners]
    strangers = tuple(process for process in listed if process.pid not in owners)
    by_job: dict[int, float | None] = {job: None for job, _ in our_shares}
    if own and all(process.gib is not None for process in own):
        for process in own:
            by_job[owners[process.pid]] = (by_job.get(owners[process.pid]) or 0.0) + (process.gib or 0.0)
        ours = sum(size or 0.0 for size in by_job.values())
        return Use(min(ours, gpu.used_gib), max(0.0, gpu.used_gib - ours), by_job, strangers)
    if not our_shares and not own:
        return Use(0.0, gpu.used_gib, by_job, strangers)
    if sees_all and gpu.processes is not None and not own:  # none of our processes has used it yet
        return Use(0.0, gpu.used_gib, dict.fromkeys(by_job, 0.0), strangers)
    by_job |= {owners[process.pid]: None for process in own}
    promised = sum(gpu.total_gib if share.gib is None else _least(share.gib) for _, share in our_shares)
    before = max((share.others_gib for _, share in our_shares), default=0.0)
    others = min(gpu.used_gib, max(gpu.used_gib - promised, before))
    return Use(gpu.used_gib - others, others, by_job, ())


def _least(promised_gib: float) -> float:
    """Return what counts as a job's own without being more than promised: a released GPU still has its context."""
    return CONTEXT_GIB if promised_gib == RELEASED_GIB else promised_gib


def unassigned_shares(gpus: Iterable[Gpu], held: Sequence[Held], owners: Mapping[int, int]) -> list[Held]:
    """List GPUs that our jobs use without having been given them, as whole-GPU shares."""
    given = {(job, share.uuid) for job, share in held}
    return [
        (job, Share(gpu.uuid, gpu.index, gpu.name, None))
        for gpu in gpus
        for job in sorted({owners[process.pid] for process in gpu.processes or () if process.pid in owners})
        if (job, gpu.uuid) not in given
    ]


def with_usage(held: Iterable[Held], uses: Mapping[str, Use]) -> list[Share]:
    """Return live jobs' shares for placement, each grown to what the job uses if that is more than promised."""
    shares = []
    for job, share in held:
        used = uses[share.uuid].by_job.get(job) if share.uuid in uses else None
        is_more = share.gib is not None and used is not None and used > _least(share.gib)
        shares.append(structs.replace(share, gib=used) if is_more else share)
    return shares


def card_of(gpu: Gpu, use: Use) -> Gpu:
    """Return a GPU as placement sees it: with the memory that others use."""
    return replace(gpu, others_gib=use.others_gib)
