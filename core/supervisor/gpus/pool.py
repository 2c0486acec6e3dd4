"""The pool of GPUs: takes in readings, chooses which jobs start on which GPUs, and reports faults.

What jobs hold is stored with them, so a new supervisor continues where the last one was. Without GPUs, or without NVML,
settings.yaml limits how many jobs run at a time, on whatever GPUs their environment shows them.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Sequence

from msgspec.structs import replace

from finetop.core.protocol import job_kinds, runs as data
from finetop.core.runtime import gpus as nvml
from finetop.core.runtime.gpu import Gpu, GpuReading, is_named
from finetop.core.runtime.torch_fits import VISIBLE
from finetop.core.store import jobs
from finetop.core.store.database import transaction
from finetop.core.store.jobs import Job
from finetop.core.supervisor.gpus.job_needs import Planner, want_of
from finetop.core.supervisor.gpus.monitor import TimedReading, Watch
from finetop.core.supervisor.gpus.placement import (
    Decision,
    Placement,
    Rules,
    Waiting,
    Want,
    decide,
    in_the_way,
    place,
)
from finetop.core.supervisor.gpus.usage import Held, Use, card_of, unassigned_shares, use_of, with_usage
from finetop.core.supervisor.state import TRY_AGAIN_S, Pool, Sample, Supervisor

NONE = Gpu(0, "", "no GPU")
NO_ANSWER_S = 15.0  # a reading takes milliseconds; one that takes this long is stuck
GRACE_S = 20.0  # for a job on a lost GPU to end by its own error, with its own message
AHEAD = 200  # waiting jobs that are considered
KEPT_LOOKS = 300  # ten minutes
# kinds of failure that a lost or failing GPU may have caused
OF_A_GPU = ("", "killed", "crashed", "hung", "environment", "gpu_lost", "gpu_error", "communication", "code")


def update(supervisor: Supervisor) -> None:
    """Start the watch, take in a new reading, and handle jobs whose GPU is lost."""
    pool, now = supervisor.pool, time.monotonic()
    if pool.watch is None:
        if now - pool.tried_at < TRY_AGAIN_S:
            return
        pool.tried_at = now
        functions = nvml.load()
        if functions is None:
            return
        # what live jobs have must have been there
        known = [
            Gpu(attempt.index, attempt.uuid, attempt.name) for job in supervisor.live for attempt in job.gpus
        ]
        pool.watch = Watch(functions, supervisor.launcher, known)
    live = tuple(supervisor.attempt(job) for job in supervisor.live)
    if {attempt.job for attempt in pool.watch.live} - {attempt.job for attempt in live}:
        pool.stale_until = now
        pool.watch.soon()
    pool.watch.live = live
    pool.watch.forgives = supervisor.settings.gpus.after_memory_errors == "use"
    reading = pool.watch.last
    if reading is not None and reading is not pool.newest:
        take_in(supervisor, reading)


def take_in(supervisor: Supervisor, reading: TimedReading) -> None:
    """Store a reading with the usage it shows, and report a GPU that was lost or came back."""
    pool = supervisor.pool
    before, pool.newest = pool.seen, reading
    pool.uses = uses_of(reading, held_by(supervisor.live, reading))
    for gpu in reading.seen.gpus:
        use = pool.uses[gpu.uuid]
        past = pool.history.setdefault(gpu.uuid, deque(maxlen=KEPT_LOOKS))
        past.append(Sample(None if gpu.fault == "lost" else gpu.busy, use.ours_gib, use.others_gib))
    faults = {gpu.uuid: gpu for gpu in reading.seen.gpus if gpu.fault in ("lost", "failing")}
    for job in supervisor.live:
        used = [share.uuid for share in job.gpus if share.gib != data.RELEASED_GIB]
        record_faults(supervisor, job, [faults[uuid] for uuid in used if uuid in faults])
    if faults_of(before) != faults_of(reading.seen):
        supervisor.touch()


def held_by(live: Sequence[Job], reading: TimedReading) -> tuple[Held, ...]:
    """List live jobs' shares, including GPUs that they use without having been given them."""
    held = [(job.id, share) for job in live for share in job.gpus]
    return (*held, *unassigned_shares(reading.seen.gpus, held, reading.owners))


def uses_of(reading: TimedReading, held: Sequence[Held]) -> dict[str, Use]:
    """Return each GPU's memory usage, by UUID."""
    return {
        gpu.uuid: use_of(gpu, held, reading.owners, sees_all=reading.sees_all) for gpu in reading.seen.gpus
    }


def faults_of(reading: GpuReading) -> list[tuple[str, str]]:
    return [(gpu.uuid, gpu.trouble) for gpu in reading.gpus if gpu.fault]


def record_faults(supervisor: Supervisor, job: Job, faulty: Sequence[Gpu]) -> None:
    """Record a fault of a live job's GPU; start the grace period of a job on a lost one.

    On a failing GPU a job goes on: a memory error ends only the process that it hits.
    """
    pool, now = supervisor.pool, time.monotonic()
    fault = fault_words(faulty[0]) if faulty else ""
    if fault != job.gpu_fault:
        with transaction(supervisor.connection):
            jobs.set_gpu_fault(supervisor.connection, job.id, fault)
        supervisor.touch()
    if not any(gpu.fault == "lost" for gpu in faulty):
        pool.lost_at.pop(job.id, None)
        return
    pool.lost_at.setdefault(job.id, now)


def is_given_up(supervisor: Supervisor, job: Job) -> bool:
    """Return True if a job still runs on a lost GPU after its grace period and must be killed."""
    return time.monotonic() - supervisor.pool.lost_at.get(job.id, math.inf) > GRACE_S


def fault_words(gpu: Gpu) -> str:
    fault = "is lost" if gpu.fault == "lost" else "fails"
    return f"GPU {gpu.index} ({gpu.name}) {fault}: {gpu.trouble}"


def ending_of(job: Job, state: data.State) -> data.State:
    """Name the GPU as the cause of a job's failure if it may be; the job's own message becomes the hint."""
    if not job.gpu_fault or not isinstance(state, data.Failed) or state.kind not in OF_A_GPU:
        return state
    hint = f"The job ended with: {state.cause}. See finetop gpus; then finetop resume {job.run_name}."
    return replace(state, cause=job.gpu_fault, hint=hint, kind="gpu_lost")


def choose(supervisor: Supervisor, ready: Sequence[Job]) -> list[tuple[Job, Placement]]:
    """Choose which ready jobs start now and on which GPUs; keep why the others don't."""
    pool, unbound = supervisor.pool, [job for job in ready if takes_no_place(supervisor, job)]
    ready = [job for job in ready if job not in unbound][:AHEAD]
    plans = len(pool.planner.estimates) if pool.planner is not None else 0
    made_of = (
        supervisor.revision,
        supervisor.settings,
        pool.newest,
        plans,
        stuck_reason(pool),
        [job.id for job in ready],
    )
    if made_of == pool.decided:
        return [(job, ()) for job in unbound]
    pool.decision = decision_of(supervisor, ready)
    pool.wants = {job.id: pool.wants[job.id] for job in ready if job.id in pool.wants}
    is_open = bool(pool.decision.starts) or len(pool.decision.reasons) < len(ready)
    pool.decided = () if is_open else made_of
    unplaced = {job: text for job, text in pool.decision.reasons.items() if text}
    if unplaced != supervisor.unplaced:
        supervisor.unplaced = unplaced
        supervisor.touch()
    starts = [(job, pool.decision.starts[job.id]) for job in ready if job.id in pool.decision.starts]
    return [*((job, ()) for job in unbound), *starts]


def takes_no_place(supervisor: Supervisor, job: Job) -> bool:
    """Return whether a job runs beside all others: a watch, and a chat without a GPU that it could wait for."""
    if not job.kind.idles or job.kind.only_reads(job.args):
        return job.kind.idles
    if not isinstance(job.state, data.Queued):
        return not job.gpus
    pool = supervisor.pool
    has_gpus = pool.is_in_charge and any(not left_out(supervisor, gpu) for gpu in pool.seen.gpus)
    return job.args.get("on_cpu") is True or (pool.has_looked and not has_gpus)


def decision_of(supervisor: Supervisor, ready: Sequence[Job]) -> Decision:
    """Decide from the latest reading, shares and settings."""
    pool, rules = supervisor.pool, rules_of(supervisor)
    occupying = supervisor.occupying()
    here = [
        job for job in occupying if job.id not in supervisor.places and not takes_no_place(supervisor, job)
    ]
    ours = [gpu for gpu in pool.seen.gpus if not left_out(supervisor, gpu)]
    if not pool.is_in_charge or (pool.seen.gpus and not ours):
        waiting, pool.in_the_way = [Waiting(job.id, job.run_name, Want(gpus=0)) for job in ready], {}
        return decide(waiting, (), (), rules, cpu_live=len(here))
    if trouble := stuck_reason(pool) or pool.seen.trouble:
        return decide_without_gpus(supervisor, ready, here, rules, f"waits: {trouble}")
    if pool.newest is None or pool.newest.began <= pool.stale_until:
        before = {job.id: supervisor.unplaced.get(job.id, "") for job in ready}
        return Decision({}, before, pool.decision.kept)  # a fresh reading is due in a moment
    cards = [card_of(gpu, pool.uses[gpu.uuid]) for gpu in ours if not gpu.fault]
    largest = max(cards, key=lambda card: card.total_gib, default=NONE)
    waiting = []
    for job in ready:
        want = job_want(supervisor, job, largest)
        if want is None:
            break  # its need is known in a moment; no other job overtakes it meanwhile
        waiting.append(Waiting(job.id, job.run_name, want))
    held = held_by(occupying, pool.newest)
    on_gpus, unfit = {job for job, _ in held}, sum(1 for gpu in ours if gpu.fault)
    cpu_live = sum(1 for job in here if job.id not in on_gpus)
    decision = decide(waiting, cards, with_usage(held, pool.uses), rules, unfit=unfit, cpu_live=cpu_live)
    chats = {job.id for job in (*supervisor.live, *ready) if job.kind.idles}
    blocked = [job for job in waiting if job.job in decision.reasons and job.job not in chats]
    shares = {job: [share for other, share in held if other == job] for job in on_gpus & chats}
    others = [*with_usage([(job, share) for job, share in held if job not in chats], pool.uses)]
    others += [share for placement in decision.starts.values() for share in placement]
    pool.in_the_way = in_the_way(blocked, cards, others, shares, rules)
    return decision


def decide_without_gpus(
    supervisor: Supervisor, ready: Sequence[Job], here: Sequence[Job], rules: Rules, reason: str
) -> Decision:
    """Start only jobs that need no GPU while the GPUs can't be read."""
    wants = [(job, job_want(supervisor, job, NONE)) for job in ready]
    without = [
        Waiting(job.id, job.run_name, want) for job, want in wants if want is not None and not want.gpus
    ]
    busy = sum(1 for job in here if not job.gpus)
    decision = decide(without, (), (), rules, unfit=1, cpu_live=busy)
    gpu_jobs = {job.id: reason for job, want in wants if want is None or want.gpus}
    return Decision(decision.starts, {**decision.reasons, **gpu_jobs}, {})


def stuck_reason(pool: Pool) -> str:
    """Return a message if a GPU reading does not come back, else ''."""
    if pool.watch is None or (pool.newest is not None and pool.newest.began >= pool.watch.began):
        return ""
    silent_s = time.monotonic() - pool.watch.began
    return "" if silent_s < NO_ANSWER_S else nvml.HAS_NO_ANSWER


def job_want(supervisor: Supervisor, job: Job, largest: Gpu) -> Want | None:
    """Return what a waiting job needs, or None while that is being estimated."""
    pool = supervisor.pool
    if job.id not in pool.wants:
        if pool.planner is None:
            pool.planner = Planner(supervisor.home)
        want = want_of(pool.planner, supervisor.connection, job, largest)
        if want is None:
            return None
        pool.wants[job.id] = want
    return pool.wants[job.id]


def rules_of(supervisor: Supervisor) -> Rules:
    own = supervisor.settings
    return Rules(own.gpus.share, own.gpus.reserve_gib, own.slots.cpu_jobs)


def left_out(supervisor: Supervisor, gpu: Gpu) -> str:
    """Return which setting excludes a GPU from our pool; empty if none does."""
    only = supervisor.settings.gpus.only
    if only is not None and not any(is_named(gpu, name) for name in only):
        return "left out by settings.yaml gpus.only"
    visible = os.environ.get(VISIBLE)
    if visible is not None and not any(is_named(gpu, name.strip()) for name in visible.split(",")):
        return f"left out by {VISIBLE} of the supervisor"
    return ""


def trouble(supervisor: Supervisor) -> str:
    """Return what every screen should show: a GPU lost or failing, a silent driver, wrong settings."""
    pool = supervisor.pool
    ours = [
        gpu for gpu in pool.seen.gpus if gpu.fault in ("lost", "failing") and not left_out(supervisor, gpu)
    ]
    faults = [fault_words(gpu) for gpu in ours[:1]]
    if len(ours) > 1:
        faults.append(f"and {len(ours) - 1} more, see finetop gpus")
    return "; ".join(faults) or stuck_reason(pool) or pool.seen.trouble


def environment(supervisor: Supervisor, shares: Placement, verb: data.Verb = "train") -> dict[str, str]:
    """Return the environment variables that limit a job to its GPUs, by UUID.

    Commands get numbers, as deepspeed's launcher reads nothing else; CUDA names an instance of a GPU by UUID alone.
    """
    if not supervisor.pool.is_in_charge:
        return {}  # the environment is left as it is
    by_number = job_kinds.of(verb).is_command and not any(gpu.is_part for gpu in supervisor.pool.seen.gpus)
    names = [str(share.index) if by_number else share.uuid for share in shares]
    # without this, CUDA numbers GPUs by speed and NVML by bus position
    return {VISIBLE: ",".join(names), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def guess(supervisor: Supervisor) -> Placement:
    """Return the GPU that the next whole-GPU job would get, so that a warm process can wait on it."""
    pool = supervisor.pool
    if not pool.is_in_charge or pool.newest is None:
        return ()
    fit = [gpu for gpu in pool.seen.gpus if not gpu.fault and not left_out(supervisor, gpu)]
    cards = [card_of(gpu, pool.uses[gpu.uuid]) for gpu in fit]
    placement = place(Want(), cards, (), rules_of(supervisor))  # no warm process waits beside a job
    return placement if isinstance(placement, tuple) else ()
