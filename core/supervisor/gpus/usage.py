"""Whose memory it is: what of a GPU's is used by our jobs, what by others. Pure functions.

Where the driver lists processes that we know, that is exact. In a container it may list none, or number them as the
host does: then what jobs of ours may use is theirs, and what is used beyond it is others'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from finetop.core.protocol.runs import Share
from finetop.core.runtime.gpu import Gpu, Process

Held = tuple[int, Share]  # a job's number and what it holds


@dataclass(frozen=True)
class Use:
    """How a GPU's memory is used, and by whom."""

    ours_gib: float
    others_gib: float
    by_job: Mapping[int, float | None]  # memory of each job of ours on it; None: not told
    others: tuple[Process, ...]  # other people's processes, where they are told


def use_of(gpu: Gpu, held: Sequence[Held], owners: Mapping[int, int], *, sees_all: bool) -> Use:
    """Divide a GPU's used memory. `owners` maps processes of our jobs to the job's number.

    `sees_all` says that the processes are numbered as we number them: we are in no container.
    """
    mine = [(job, share) for job, share in held if share.uuid == gpu.uuid]
    listed = gpu.processes or ()
    own = [one for one in listed if one.pid in owners]
    strangers = tuple(one for one in listed if one.pid not in owners)
    by_job: dict[int, float | None] = {job: None for job, _ in mine}
    if own and all(one.gib is not None for one in own):
        for one in own:
            by_job[owners[one.pid]] = (by_job.get(owners[one.pid]) or 0.0) + (one.gib or 0.0)
        ours = sum(size or 0.0 for size in by_job.values())
        return Use(min(ours, gpu.used_gib), max(0.0, gpu.used_gib - ours), by_job, strangers)
    if not mine and not own:
        return Use(0.0, gpu.used_gib, by_job, strangers)
    if sees_all and gpu.processes is not None and not own:  # none of ours has touched it yet
        return Use(0.0, gpu.used_gib, dict.fromkeys(by_job, 0.0), strangers)
    by_job |= {owners[one.pid]: None for one in own}
    promised = sum(gpu.total_gib if share.gib is None else share.gib for _, share in mine)
    before = max((share.others_gib for _, share in mine), default=0.0)
    others = min(gpu.used_gib, max(gpu.used_gib - promised, before))
    return Use(gpu.used_gib - others, others, by_job, ())


def uninvited(gpus: Iterable[Gpu], held: Sequence[Held], owners: Mapping[int, int]) -> list[Held]:
    """List GPUs that our jobs use without having been given them. They count as whole."""
    given = {(job, share.uuid) for job, share in held}
    return [
        (job, Share(gpu.uuid, gpu.index, gpu.name, None))
        for gpu in gpus
        for job in sorted({owners[one.pid] for one in gpu.processes or () if one.pid in owners})
        if (job, gpu.uuid) not in given
    ]


def grown(held: Iterable[Held], uses: Mapping[str, Use]) -> list[Share]:
    """List what live jobs have, as room is looked for beside them: what they use where that is more than promised."""
    found = []
    for job, share in held:
        used = uses[share.uuid].by_job.get(job) if share.uuid in uses else None
        is_more = share.gib is not None and used is not None and used > share.gib
        found.append(structs.replace(share, gib=used) if is_more else share)
    return found


def card_of(gpu: Gpu, use: Use) -> Gpu:
    """Return a GPU as jobs are placed on it: with what others use of its memory."""
    return replace(gpu, others_gib=use.others_gib)
