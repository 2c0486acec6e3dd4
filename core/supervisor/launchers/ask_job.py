"""Asks a live job to stop, to pause, to go at once; the next beat passes it on."""

from __future__ import annotations

from typing import Literal

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import runs as data
from finetop.core.store import jobs, runs
from finetop.core.store.jobs import Job

Wish = Literal["stop", "kill", "pause", "rest"]  # a rest is the pause of quiet hours
# Go on where they were; an import or export is soon over.
CAN_PAUSE = ("train", "check", "remedy", "approach", "measure")


def ask(connection: Connection, job: Job, wish: Wish) -> None:
    """Ask a live job for something, and show that it was: the next beat passes it on."""
    assert isinstance(job.state, data.Running)
    jobs.ask(connection, job.id, wish)
    state = msgspec.structs.replace(job.state, asked="pause" if wish == "rest" else wish)
    jobs.set_state(connection, job.id, state)
    if job.verb in data.MAKES_A_RUN:
        runs.set_state(connection, job.run_id, state)


def goes_on_later(connection: Connection, job: Job) -> bool:
    """Say whether a job that is stopped now can go on where it was."""
    if job.verb == "train":
        return bool(runs.recipe(connection, job.run_id).get("train", {}).get("resumable", True))
    return job.verb in CAN_PAUSE
