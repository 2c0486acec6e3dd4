"""Which jobs share a GPU and how much memory that leaves each; jobs are told at start and while they run.

What was promised to a job, and what it already uses beyond that, is kept free for it. All else on the GPU goes to
whichever job needs it first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from finetop.core.protocol import runs as data
from finetop.core.protocol.runs import Share
from finetop.core.runtime import gpu_share
from finetop.core.runtime.gpu_share import GpuShare
from finetop.core.store.jobs import Job
from finetop.core.supervisor.gpus import pool
from finetop.core.supervisor.gpus.placement import Placement
from finetop.core.supervisor.gpus.usage import Held, Use
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.state import Supervisor
from finetop.core.text import clean_line
from finetop.core.wording.units import gib

MEMORY = ("gpu_taken", "gpu_out_of_memory")


def share_of(
    job: int,
    gpus: Placement,
    held: Sequence[Held],
    names: Mapping[int, str],
    totals: Mapping[str, float],
    uses: Mapping[str, Use],
    reserve_gib: float,
) -> GpuShare:
    """Return what a job may use of its GPUs beside the other jobs on them; `totals` are sizes in GiB by UUID.

    Never less than promised. All GPUs of a job get the same limit: that of the fullest one.
    """
    beside: dict[int, str] = {}
    jobs_on, limits = [], []
    for share in gpus:
        on_it = [(other, theirs) for other, theirs in held if theirs.uuid == share.uuid and other != job]
        jobs_on.append(1 + len({other for other, _ in on_it}))
        beside |= {other: names[other] for other, _ in on_it if other in names}
        if on_it and share.gib is not None and share.uuid in totals:
            use = uses.get(share.uuid)
            room = totals[share.uuid] - reserve_gib - _of_others(share, use)
            room -= sum(_taken(other, theirs, totals[share.uuid], use) for other, theirs in on_it)
            limits.append(max(share.gib, math.floor(room * 10) / 10))
    most = min(limits, default=None)
    return GpuShare(most, tuple(sorted(beside.values())), tuple(jobs_on))


def _taken(job: int, share: Share, total_gib: float, use: Use | None) -> float:
    """Return a job's memory on a GPU: the larger of what it was promised and what it uses."""
    promised = total_gib if share.gib is None else share.gib
    used = None if use is None else use.by_job.get(job)
    return max(promised, used or 0.0)


def _of_others(share: Share, use: Use | None) -> float:
    """Return the memory of processes that aren't ours: at placement time if usage per job is not available."""
    is_exact = use is not None and any(used is not None for used in use.by_job.values())
    return use.others_gib if use is not None and is_exact else share.others_gib


def share_now(supervisor: Supervisor, job: Job, gpus: Placement) -> GpuShare:
    """Return what a job may use of its GPUs beside the jobs that are live now."""
    own = supervisor.pool
    held = [(live_job.id, share) for live_job in supervisor.occupying() for share in live_job.gpus]
    held = held if own.newest is None else list(pool.held_by(supervisor.occupying(), own.newest))
    names = {live_job.id: live_job.run_name for live_job in supervisor.live}
    totals = {gpu.uuid: gpu.total_gib for gpu in own.seen.gpus}
    return share_of(job.id, gpus, held, names, totals, own.uses, supervisor.settings.gpus.reserve_gib)


async def write_shares(supervisor: Supervisor) -> None:
    """Write each live job's share where it changed. A folder that can't be written is retried."""
    own = supervisor.pool
    made_of = (supervisor.revision, supervisor.settings, own.newest)
    if own.newest is None or made_of == own.shares_of:
        return
    live_jobs = {(job.id, job.attempt): job for job in supervisor.here() if job.gpus}
    own.shares, own.shares_of = {key: share for key, share in own.shares.items() if key in live_jobs}, made_of
    for key, job in live_jobs.items():
        share = share_now(supervisor, job, job.gpus)
        if own.shares.get(key) == share:
            continue
        try:
            await aside(partial(gpu_share.write_share, supervisor.home.root / job.folder, share))
            own.shares[key] = share
        except OSError:  # the job keeps its last known share
            own.shares_of = ()


def with_neighbours(supervisor: Supervisor, job: Job, state: data.State) -> data.State:
    """Add to the hint of a job that ran out of GPU memory the runs beside it and the memory they hold."""
    if not isinstance(state, data.Failed) or state.kind not in MEMORY:
        return state
    own = {share.uuid for share in job.gpus}
    shares = [(other, share) for other in supervisor.live if other.id != job.id for share in other.gpus]
    neighbours = [
        describe_neighbour(other.run_name, share, supervisor.pool.uses.get(share.uuid), other.id)
        for other, share in shares
        if share.uuid in own
    ]
    return replace(state, hint=" ".join([*neighbours, state.hint])) if neighbours else state


def describe_neighbour(run: str, share: Share, use: Use | None, job: int) -> str:
    used = None if use is None else use.by_job.get(job)
    usage = "" if used is None else f" holds {gib(used)} GiB"
    planned = "" if share.gib is None else f"{',' if usage else ''} planned {gib(share.gib)}"
    return f"Beside it on GPU {share.index}: {clean_line(run)}{usage}{planned}."
