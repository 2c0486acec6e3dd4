"""Stops, pauses or kills jobs: a live one gets a request, a waiting one leaves the queue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import Refused
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.limits import Done
from finetop.core.protocol.messages.queue import Kill, Pause, Stop
from finetop.core.runtime.crash_points import abort_at
from finetop.core.store import jobs, queue_order, runs
from finetop.core.store.database import transaction
from finetop.core.store.jobs import Job
from finetop.core.supervisor.endings.exit_reason import KILLS
from finetop.core.supervisor.launchers.ask_job import ask, goes_on_later
from finetop.core.supervisor.state import Supervisor
from finetop.core.wording import jobs as wording
from finetop.core.wording.endings import state_word


def stop(supervisor: Supervisor, ask: Stop) -> Done:
    """Request a run's live jobs to save and exit; remove waiting ones from the queue."""
    return _end(supervisor, ask.run, "stop")


def kill(supervisor: Supervisor, ask: Kill) -> Done:
    return _end(supervisor, ask.run, "kill")


def pause(supervisor: Supervisor, request: Pause) -> Done:
    """Make live jobs save, exit and wait, held; hold waiting ones. Raises Refused for none or one that can't resume."""
    connection = supervisor.connection
    name, waiting, live = under_way(connection, request.run, "pause")
    for job in live:
        require_pausable(connection, job)
    with transaction(connection):
        for job in live:
            ask(connection, job, "pause")
        for job in waiting:
            queue_order.hold(connection, job.id, held=True)
    supervisor.touch()
    abort_at("pause-asked")
    message = _ending(connection, name, live, "pause") if live else f"{name} is held."
    return Done(f"{message} To resume: finetop resume {name}")


def require_pausable(connection: Connection, job: Job) -> None:
    """Raise Refused if a live job can't resume later."""
    if not job.kind.can_pause:
        hint = job.kind.no_pause.format(run=job.run_name)
        raise Refused(f"the {job.verb} of {job.run_name} can't be paused.", hint=hint)
    if job.asked in KILLS:
        raise Refused(f"{job.run_name} is being killed.")
    if job.asked == "stop":
        raise Refused(f"{job.run_name} was already asked to stop.")
    if not goes_on_later(connection, job):
        hint = f"End it: finetop stop {job.run_name}."
        if job.kind.is_command:
            why = "command.resume_command is not set, so how its program goes on is not known"
            raise Refused(f"{job.run_name} could not be resumed: {why}.", hint=hint)
        raise Refused(f"{job.run_name} could not be resumed: train.resumable is false.", hint=hint)


def under_way(connection: Connection, run: str, verb: str) -> tuple[str, list[Job], list[Job]]:
    """Return a run's name, its waiting and its live jobs. Raises NotFound, Refused if there are none."""
    run_id, name = runs.find_run(connection, run)
    waiting = [job for job in jobs.queued(connection) if job.run_id == run_id]
    live = [job for job in jobs.live(connection) if job.run_id == run_id]
    if not waiting and not live:
        state = state_word(runs.row(connection, run_id).state)
        raise Refused(f"{name} is {state}: there is nothing to {verb}.")
    return name, waiting, live


def _end(supervisor: Supervisor, run: str, wish: Literal["stop", "kill"]) -> Done:
    connection = supervisor.connection
    name, waiting, live = under_way(connection, run, wish)
    is_killed = any(job.asked in KILLS for job in live)
    message = _ending(connection, name, [*live, *waiting], "kill" if is_killed else wish)
    with transaction(connection):
        for job in live:
            ask(connection, job, wish)
        for job in waiting:
            remove_from_queue(connection, job)
    supervisor.touch()
    return Done(message)


def _ending(
    connection: Connection, name: str, ended: Sequence[Job], wish: Literal["stop", "kill", "pause"]
) -> str:
    tried, shown = jobs.tried(connection, ended), []
    for job in ended:
        if isinstance(job.state, data.Running | data.Queued):
            shown.append(data.SideJob(job.verb, job.state, tried.get(job.id)))
    return wording.ending(name, shown, wish)


def remove_from_queue(connection: Connection, job: Job) -> None:
    """Remove a waiting job from the queue; a run that it would have resumed returns to its earlier state."""
    cancelled = data.Stopped(ended=time.time(), how="cancel")
    jobs.set_state(connection, job.id, cancelled)
    before = jobs.state_before(connection, job.id)
    if before is not None:
        runs.put_back(connection, job.run_id, before)
    elif job.kind.makes_a_run:
        runs.set_state(connection, job.run_id, cancelled)


ANSWERS = {Stop: stop, Kill: kill, Pause: pause}
