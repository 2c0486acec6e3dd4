"""Requests to a live job: stop, pause, kill. The next beat passes them on."""

from __future__ import annotations

from typing import Literal

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import runs as data
from finetop.core.store import jobs, runs
from finetop.core.store.jobs import Job
from finetop.core.supervisor.endings.exit_reason import KILLS

Wish = Literal["stop", "kill", "pause", "rest"]  # rest is the pause of quiet hours


def ask(connection: Connection, job: Job, wish: Wish) -> None:
    """Record a request to a live job and show it in the job's state; the next beat passes it on.

    A kill stands: a stop that comes after it would end the job as failed, and try it again.
    """
    assert isinstance(job.state, data.Running)
    if job.asked in KILLS:
        if job.asked == "kill" or wish in ("pause", "rest"):
            return
        wish = "kill"  # what is killed because it hangs is now ended for good
    jobs.set_request(connection, job.id, wish)
    state = msgspec.structs.replace(job.state, asked="pause" if wish == "rest" else wish)
    jobs.set_state(connection, job.id, state)
    if job.kind.makes_a_run:
        runs.set_state(connection, job.run_id, state)


def goes_on_later(connection: Connection, job: Job) -> bool:
    """Return True if a job that is stopped now can resume where it was."""
    if job.kind.is_command:
        return bool(runs.recipe(connection, job.run_id)["command"]["resume_command"])
    if job.kind.trains_here:
        return bool(runs.recipe(connection, job.run_id).get("train", {}).get("resumable", True))
    return job.kind.can_pause
