"""Shows and changes the queue: what waits and why, the order, what is held."""

from __future__ import annotations

import time
from typing import Any

from finetop.core.errors import BadInput, Refused
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.limits import Done
from finetop.core.protocol.messages.queue import Hold, Move, Prioritise, Queue, QueueAnswer, QueueRow, Release
from finetop.core.store import jobs, queue_order, runs
from finetop.core.store.database import transaction
from finetop.core.store.jobs import Job
from finetop.core.supervisor.gpus.placement import Want
from finetop.core.supervisor.queue import placement, ready, start_times
from finetop.core.supervisor.state import Supervisor
from finetop.core.text import counted
from finetop.core.wording import jobs as wording
from finetop.core.wording.queue import ON_CPU, priority_word
from finetop.core.wording.units import whole_gib

LIMIT = 1000


def listing(supervisor: Supervisor, ask: Queue) -> QueueAnswer:
    """List waiting jobs, first to start on top, and running ones."""
    connection, now = supervisor.connection, time.time()
    waiting, everywhere = jobs.waiting_line(connection, ready.why(supervisor)), jobs.live(connection)
    live_states = [(job, data.visible_state(job.state)) for job in everywhere]
    live = [job for job, state in live_states if isinstance(state, data.Running)]
    waiting = [*((job, state) for job, state in live_states if isinstance(state, data.Queued)), *waiting]
    shown = waiting[: max(1, min(ask.limit, LIMIT))]
    recipes = runs.recipes(connection, [job.run_id for job in (*live, *(job for job, _ in shown))])
    ours = [job for job, state in shown if state.place]
    starts = start_times.starts(supervisor, live, ours, recipes, now)
    tried = jobs.tried(connection, live)
    return QueueAnswer(
        [_row(supervisor, job, state, recipes[job.run_id], starts.get(job.id)) for job, state in shown],
        len(waiting),
        [_doing(job, tried.get(job.id)) for job in live],
        ready.why_stopped(supervisor, now),
        start_times.live_rows(supervisor, live, tried),
    )


def _doing(job: Job, tried: data.Tried | None) -> str:
    """Name a run that trains; for other jobs add what they do: 'demo (check 12 of 60 items, 3 min left)'."""
    assert isinstance(job.state, data.Running)
    doing = "" if job.kind.takes_budget else f" ({wording.job(job.verb, job.state, tried)})"
    return f"{job.run_name}{doing}"


def _row(
    supervisor: Supervisor,
    job: Job,
    state: data.Queued,
    recipe: dict[str, Any],
    starts: tuple[float, str] | None,
) -> QueueRow:
    starts_at, after = starts or (None, "")
    _, _, do = state.because.partition(": ") if job.run_id in supervisor.waiting else ("", "", "")
    if job.held:
        do = f"finetop queue release {job.run_name}"
    step = job.args.get("resume", {}).get("step") if job.kind.trains_here else job.args.get("step")
    return QueueRow(
        run_id=job.run_id,
        run=job.run_name,
        what=job.verb,
        step=step or None,
        method=recipe["method"]["name"],
        wants=needs_text(recipe, supervisor.pool.wants.get(job.id)) or _by_default(supervisor, job),
        priority=job.priority,
        state=state,
        do=do,
        starts_at=starts_at,
        after=after,
    )


def needs_text(recipe: dict[str, Any], estimate: Want | None = None) -> str:
    """Return what a run needs, as '2 x 24 GiB' or 'about 6 GiB'; empty if it names nothing."""
    budget = recipe.get("budget") or {}
    gpus, memory = budget.get("gpus"), budget.get("memory_gib")
    if gpus == 0:
        return "no GPU"
    if memory is None and estimate is not None and estimate.gpus and estimate.gib is not None:
        size = f"about {whole_gib(estimate.gib)} GiB"
    else:
        size = "" if memory is None else f"{memory:g} GiB"
    if gpus is None or not size:
        return size if gpus is None else counted(gpus, "GPU")
    return size if gpus == 1 else f"{gpus} x {size}"


def _by_default(supervisor: Supervisor, job: Job) -> str:
    """Return what a run without a request gets: one GPU, or the CPU if there is none; empty on a cluster."""
    pool = supervisor.pool
    if placement.runs_on_cluster(supervisor, job):
        return ""
    if job.kind.only_reads(job.args) or (pool.has_looked and not pool.is_in_charge):
        return ON_CPU
    return "1 GPU" if pool.is_in_charge else ""


def move(supervisor: Supervisor, ask: Move) -> Done:
    """Move a run's waiting jobs first, last or before another run. Raises NotFound, Refused, BadInput."""
    connection = supervisor.connection
    name, moving = waiting_of(supervisor, ask.run)
    other_jobs = [job for job, _ in jobs.waiting_line(connection) if job.run_id != moving[0].run_id]
    before: Job | None = None
    if ask.to == "before":
        if not ask.other:
            raise BadInput("before which run?", hint=f"Name it: finetop queue before {name} OTHER.")
        other, other_waiting = waiting_of(supervisor, ask.other)
        if other == name:
            raise BadInput(f"{name} can't be moved before itself.", hint="Name another run.")
        before = other_waiting[0]
    elif ask.to == "first" and other_jobs:
        before = other_jobs[0]
    with transaction(connection):
        queue_order.move(connection, moving, before)
    ready.refresh(supervisor)
    moved = next(job for job in jobs.queued(connection) if job.id == moving[0].id)
    position = f"is now before {before.run_name}" if ask.to == "before" and before else f"is {ask.to}"
    held_note = ", and held" if moved.held else ""
    if moved.priority != moving[0].priority:
        held_note += f"; its priority is {priority_word(moved.priority)} now"
    return Done(f"{name} {position} in the queue{held_note}.")


def hold(supervisor: Supervisor, ask: Hold) -> Done:
    """Hold a run's waiting jobs, or the whole queue. Raises NotFound, Refused."""
    connection = supervisor.connection
    if not ask.run:
        with transaction(connection):
            queue_order.hold_all(connection, held=True)
        ready.refresh(supervisor)
        text = "the queue is held: nothing starts, running jobs continue"
        return Done(f"{text}. finetop queue release releases it")
    name, waiting = waiting_of(supervisor, ask.run)
    _hold(supervisor, waiting, held=True)
    return Done(f"{name} is held. finetop queue release {name} releases it")


def release(supervisor: Supervisor, ask: Release) -> Done:
    """Release a held run, or the held queue. Raises NotFound, Refused if nothing is held."""
    connection = supervisor.connection
    if not ask.run:
        if not queue_order.is_held(connection):
            raise Refused("the queue is not held.", hint="For one run: finetop queue release RUN.")
        with transaction(connection):
            queue_order.hold_all(connection, held=False)
        ready.refresh(supervisor)
        return Done("the queue is released.")
    name, waiting = waiting_of(supervisor, ask.run)
    if not any(job.held for job in waiting):
        raise Refused(f"{name} is not held.", hint="Why it waits: finetop queue.")
    _hold(supervisor, waiting, held=False)
    still = "; the queue is held" if queue_order.is_held(connection) else ""
    return Done(f"{name} is released, place {jobs.place_of(connection, waiting[0].run_id)}{still}.")


def _hold(supervisor: Supervisor, waiting: list[Job], *, held: bool) -> None:
    with transaction(supervisor.connection):
        for job in waiting:
            queue_order.hold(supervisor.connection, job.id, held=held)
    ready.refresh(supervisor)


def prioritise(supervisor: Supervisor, ask: Prioritise) -> Done:
    """Set the priority of a run's waiting jobs. Raises NotFound, Refused."""
    connection = supervisor.connection
    name, waiting = waiting_of(supervisor, ask.run)
    with transaction(connection):
        for job in waiting:
            queue_order.set_priority(connection, job.id, ask.priority)
    ready.refresh(supervisor)
    place = jobs.place_of(connection, waiting[0].run_id)
    return Done(f"{name} has priority {priority_word(ask.priority)}, place {place}.")


def waiting_of(supervisor: Supervisor, run: str) -> tuple[str, list[Job]]:
    """Return a run's name and its waiting jobs. Raises NotFound, Refused if there are none."""
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, run)
    waiting = [job for job in jobs.queued(connection) if job.run_id == run_id]
    live = [job for job in jobs.live(connection) if job.run_id == run_id]
    if not waiting and any(isinstance(data.visible_state(job.state), data.Queued) for job in live):
        hint = f"Withdraw and hold it: finetop pause {name}. Slurm's own order: scontrol top, scontrol hold."
        raise Refused(f"{name} waits in Slurm's queue, which finetop can't reorder.", hint=hint)
    if not waiting:
        raise Refused(f"{name} is not waiting.", hint="What waits: finetop queue.")
    return name, waiting


ANSWERS = {Queue: listing, Move: move, Hold: hold, Release: release, Prioritise: prioritise}
