"""Which waiting jobs may start now, first on top; why the others may not, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.queue_words import QUEUE_HELD
from finetop.core.store import jobs, order, parents

if TYPE_CHECKING:
    from finetop.core.store.jobs import Job
    from finetop.core.supervisor.state import Supervisor


def read(supervisor: Supervisor) -> None:
    """Read the queue from the store: after a change, not at each beat."""
    connection = supervisor.connection
    supervisor.queued = jobs.queued(connection)
    supervisor.waiting = parents.waiting(connection)
    supervisor.is_held = order.is_held(connection)


def ready(supervisor: Supervisor, now: float) -> list[Job]:
    """List the jobs that may start, first on top; keep why others wait, and tell clients when that has changed."""
    why = {job.id: words for job in supervisor.queued if (words := _why(supervisor, job, now))}
    if why != supervisor.why:
        supervisor.why = why
        supervisor.touch()
    return [job for job in supervisor.queued if job.id not in why]


def _why(supervisor: Supervisor, job: Job, now: float) -> str:
    """Say why a job may not start now; nothing if it may."""
    if job.held:
        return "held"
    if job.run_id in supervisor.waiting:
        return supervisor.waiting[job.run_id]
    if supervisor.is_held:
        return QUEUE_HELD
    if job.not_before is not None and now < job.not_before:
        return str(job.args.get("retry", {}).get("said", "")) or "waits for its time"
    return ""


def why(supervisor: Supervisor) -> dict[int, str]:
    """Say of waiting jobs why they do: by the queue's own rules, else for want of a place to run."""
    return {**supervisor.unplaced, **supervisor.why}
