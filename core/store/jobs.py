"""Jobs in the store: the queue, which is live, what was asked of them, how they ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import duckdb
import msgspec

from finetop.core import run as data
from finetop.core.store import parents, records

CHECK_PRIORITY = 0  # a check goes ahead of queued training
TRAIN_PRIORITY = 10

_state = msgspec.json.Decoder(data.State)
_json = msgspec.json.Encoder()


@dataclass(frozen=True)
class Job:
    """A job that is queued or running, as the scheduler sees it."""

    id: int
    run_id: int
    run_name: str
    verb: data.Verb
    args: dict[str, Any]
    folder: str  # relative to the home
    state: data.State
    asked: str
    attempt: int
    ended_word: str | None


_SELECT = (
    "SELECT j.id, j.run_id, r.name, j.verb, j.args, r.folder || '/' || j.folder, j.state, j.asked, j.attempt,"
    " j.ended_word FROM jobs j JOIN runs r ON r.id = j.run_id WHERE j.word = ? ORDER BY j.priority, j.id"
)


def queued(connection: duckdb.DuckDBPyConnection) -> list[Job]:
    """List waiting jobs, first to start on top."""
    return _jobs(connection, "queued")


def ready(connection: duckdb.DuckDBPyConnection) -> list[Job]:
    """List waiting jobs that may start, first on top: not those whose run waits for another's end."""
    waiting = parents.waiting(connection)
    return [job for job in queued(connection) if job.run_id not in waiting]


def live(connection: duckdb.DuckDBPyConnection) -> list[Job]:
    return _jobs(connection, "running")


def _jobs(connection: duckdb.DuckDBPyConnection, word: str) -> list[Job]:
    return [
        Job(
            i,
            run_id,
            name,
            verb,
            msgspec.json.decode(args),
            folder,
            _state.decode(state),
            asked,
            attempt,
            ended,
        )
        for i, run_id, name, verb, args, folder, state, asked, attempt, ended in connection.execute(
            _SELECT, [word]
        ).fetchall()
    ]


def add_job(
    connection: duckdb.DuckDBPyConnection, *, run_id: int, verb: str, args: dict[str, Any], priority: int
) -> tuple[int, str]:
    """Queue a job. Returns its number and its folder, relative to the run folder."""
    job_id = records.next_number(connection, "jobs")
    folder = f"jobs/{job_id:04d}-{verb}"
    connection.execute(
        "INSERT INTO jobs (id, run_id, verb, args, priority, created, folder, word, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
        [
            job_id,
            run_id,
            verb,
            _json.encode(args).decode(),
            priority,
            time.time(),
            folder,
            _json.encode(data.Queued(place=0)).decode(),
        ],
    )
    records.mark_run(connection, run_id)
    return job_id, folder


def set_state(connection: duckdb.DuckDBPyConnection, job_id: int, state: data.State) -> None:
    show_state(connection, job_id, state)
    records.mark_job(connection, job_id)


def show_state(connection: duckdb.DuckDBPyConnection, job_id: int, state: data.State) -> None:
    """Set a state that differs in nothing but what the job's events tell."""
    connection.execute(
        "UPDATE jobs SET word = ?, state = ? WHERE id = ?",
        [data.word(state), _json.encode(state).decode(), job_id],
    )


def begin_attempt(connection: duckdb.DuckDBPyConnection, job_id: int) -> int:
    """Count a new attempt, and forget what the last one said about its end. Returns its number."""
    connection.execute("UPDATE jobs SET attempt = attempt + 1, ended_word = NULL WHERE id = ?", [job_id])
    records.mark_job(connection, job_id)
    found = connection.execute("SELECT attempt FROM jobs WHERE id = ?", [job_id]).fetchone()
    assert found is not None
    return int(found[0])


def ask(connection: duckdb.DuckDBPyConnection, job_id: int, what: str) -> None:
    connection.execute("UPDATE jobs SET asked = ? WHERE id = ?", [what, job_id])
    records.mark_job(connection, job_id)


def of_run(connection: duckdb.DuckDBPyConnection, run_id: int) -> list[data.JobRow]:
    return [
        data.JobRow(job_id, verb, _state.decode(state), attempt, folder, bad, msgspec.json.decode(args))
        for job_id, verb, state, attempt, folder, bad, args in connection.execute(
            "SELECT id, verb, state, attempt, folder, bad_lines, args FROM jobs WHERE run_id = ? ORDER BY id",
            [run_id],
        ).fetchall()
    ]


def imports(
    connection: duckdb.DuckDBPyConnection, path: str
) -> list[tuple[int, str, dict[str, Any], dict[str, Any]]]:
    """List runs adopted from a folder, or about to be, newest first: number, name, recipe, the job's args."""
    return [
        (run_id, name, msgspec.json.decode(recipe), msgspec.json.decode(args))
        for run_id, name, recipe, args in connection.execute(
            "SELECT r.id, r.name, r.recipe, j.args FROM jobs j JOIN runs r ON r.id = j.run_id"
            " WHERE j.verb = 'import' AND j.word IN ('queued', 'running', 'finished') AND j.args->>'path' = ?"
            " ORDER BY j.id DESC",
            [path],
        ).fetchall()
    ]


def places(connection: duckdb.DuckDBPyConnection) -> dict[int, data.Queued]:
    """Map each waiting run to its place in the queue: 1 starts next."""
    found = connection.execute(
        "SELECT run_id, verb FROM jobs WHERE word = 'queued' ORDER BY priority, id"
    ).fetchall()
    reasons = parents.waiting(connection)
    found.sort(key=lambda job: job[0] in reasons)  # those that may start stand before those that may not
    return {
        run_id: data.Queued(place, reasons.get(run_id, data.FOR_A_SLOT))
        for place, (run_id, verb) in enumerate(found, 1)
        if verb in data.MAKES_A_RUN
    }


def checks_under_way(connection: duckdb.DuckDBPyConnection) -> dict[int, data.Running | data.Queued]:
    """Map runs to the state of their check that runs or waits."""
    found = connection.execute(
        "SELECT run_id, state FROM jobs WHERE verb = 'check' AND word IN ('queued', 'running') ORDER BY id"
    ).fetchall()
    return {run_id: _state.decode(state) for run_id, state in found}
