"""The user-defined order of the queue: by priority, then by place; and holding.

A place is a number between its neighbours', so a move changes one job. Once no number is left between two (after some
fifty moves to the same spot), the places of that priority are renumbered.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

from duckdb import DuckDBPyConnection as Connection

from finetop.core.store import jobs, run_records
from finetop.core.store.database import one_value, update
from finetop.core.store.jobs import Job


def move(connection: Connection, moving: Sequence[Job], before: Job | None) -> None:
    """Move waiting jobs before another and to its priority; None: behind all, where a job keeps an even lower one."""
    own = {job.id for job in moving}
    other_jobs = [job for job in jobs.queued(connection) if job.id not in own]
    if before is not None:
        priority, high = before.priority, before.place
    else:
        priority = max((job.priority for job in (*other_jobs, *moving)), default=jobs.TRAIN_PRIORITY)
        high = run_records.next_number(connection, "jobs")  # jobs queued later come behind
    peers = [job for job in other_jobs if job.priority == priority]
    at = len(peers) if before is None else [job.id for job in peers].index(before.id)
    low = peers[at - 1].place if at else high - len(moving) - 1
    places = [low + (high - low) * (number + 1) / (len(moving) + 1) for number in range(len(moving))]
    if all(lower < upper for lower, upper in pairwise([low, *places, high])):
        placed = list(zip(moving, places, strict=True))
    else:
        placed = [(job, float(n)) for n, job in enumerate((*peers[:at], *moving, *peers[at:]), 1)]
    for job, place in placed:
        _put(connection, job.id, priority, place)


def first_place(connection: Connection, priority: int) -> float:
    """Return a place before all waiting jobs of a priority."""
    before = "SELECT coalesce(min(coalesce(place, id)) - 1, 0) FROM jobs"
    return float(one_value(connection, f"{before} WHERE word = 'queued' AND priority = ?", [priority]))


def _put(connection: Connection, job_id: int, priority: int, place: float | None) -> None:
    update(connection, "jobs", job_id, priority=priority, place=place)
    run_records.mark_job(connection, job_id)


def set_priority(connection: Connection, job_id: int, priority: int) -> None:
    """Set a waiting job's priority; its place there is by arrival."""
    _put(connection, job_id, priority, None)


def hold(connection: Connection, job_id: int, *, held: bool) -> None:
    """Hold a waiting job until a user releases it, or release it to start as soon as possible."""
    update(connection, "jobs", job_id, held=held, **({} if held else {"not_before": None}))
    run_records.mark_job(connection, job_id)


def is_held(connection: Connection) -> bool:
    """Return True if the whole queue is held."""
    return bool(connection.execute("SELECT since FROM queue_held").fetchall())


def hold_all(connection: Connection, *, held: bool) -> None:
    """Hold the whole queue, so that nothing starts while running jobs go on; or release it."""
    connection.execute("DELETE FROM queue_held")
    if held:
        connection.execute("INSERT INTO queue_held VALUES (?)", [time.time()])
    run_records.mark_home(connection)
