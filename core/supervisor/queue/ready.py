"""Which waiting jobs may start now, first on top, and why the others may not; enforces quiet hours."""

from __future__ import annotations

import shutil
import time

from finetop.core.protocol.messages.limits import HELD
from finetop.core.recipe import quiet_hours
from finetop.core.store import jobs, parents, queue_order
from finetop.core.store.database import transaction
from finetop.core.store.jobs import Job
from finetop.core.supervisor.launchers import ask_job
from finetop.core.supervisor.queue import placement
from finetop.core.supervisor.state import Supervisor
from finetop.core.wording.durations import day_clock
from finetop.core.wording.queue import QUEUE_HELD
from finetop.core.wording.units import gib_of


def read(supervisor: Supervisor) -> None:
    """Read the queue from the store: after a change, not on every beat."""
    connection = supervisor.connection
    supervisor.queued = jobs.queued(connection)
    supervisor.waiting = parents.waiting(connection)
    supervisor.is_held = queue_order.is_held(connection)


def refresh(supervisor: Supervisor) -> None:
    """Apply a user's change at once instead of on the next beat."""
    supervisor.touch()
    read(supervisor)
    ready(supervisor, time.time())


def ready(supervisor: Supervisor, now: float) -> list[Job]:
    """List the jobs that may start, first on top; store why the others wait, and notify clients of changes."""
    reasons = {job.id: reason for job in supervisor.queued if (reason := _why(supervisor, job, now))}
    if reasons != supervisor.why:
        supervisor.why = reasons
        supervisor.touch()
    return [job for job in supervisor.queued if job.id not in reasons]


def _why(supervisor: Supervisor, job: Job, now: float) -> str:
    """Return why a job may not start now, or '' if it may."""
    if job.held:
        return HELD
    if job.run_id in supervisor.waiting:
        return supervisor.waiting[job.run_id]
    if reason := why_stopped(supervisor, now):
        return reason
    retry = job.args.get("retry", {})
    if job.not_before is not None and now < job.not_before:
        return str(retry.get("said", ""))
    if reason := placement.why_not_yet(supervisor, job):
        return reason
    room = int(retry.get("room", 0))
    is_full = room > shutil.disk_usage(supervisor.home.root).free
    return f"the disk is full: waits for {gib_of(room)} GiB of room" if is_full else ""


def why_stopped(supervisor: Supervisor, now: float) -> str:
    """Return why no job at all starts now, or '' if jobs may start.

    Settings that can't be read may contain quiet hours or reserve GPUs for others, so nothing starts then.
    """
    if supervisor.settings_fault:
        return supervisor.settings_fault.rstrip(".")
    if supervisor.is_held:
        return QUEUE_HELD
    if supervisor.quiet_until is not None:
        return f"quiet until {day_clock(supervisor.quiet_until, now)}"
    return ""


def why(supervisor: Supervisor) -> dict[int, str]:
    """Return why each waiting job waits: the queue's rules first, then lack of a place to run."""
    return {**supervisor.unplaced, **supervisor.why}


def apply_quiet_hours(supervisor: Supervisor, now: float) -> None:
    """Set when the current quiet hours end; pause running jobs in them, if the settings say so."""
    quiet = supervisor.settings.quiet_hours
    supervisor.quiet_until = None if quiet is None else quiet_hours.until(quiet, now)
    if supervisor.quiet_until is None or quiet is None or not quiet.pause:
        return
    for job in supervisor.live:
        if not job.asked and ask_job.goes_on_later(supervisor.connection, job):
            with transaction(supervisor.connection):
                ask_job.ask(supervisor.connection, job, "rest")
            supervisor.touch()
