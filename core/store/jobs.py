"""Jobs in the store: the queue, live jobs, requests to them, how they ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core import plugins
from finetop.core.protocol import events, job_kinds, runs as data
from finetop.core.protocol.job_kinds import JobKind
from finetop.core.protocol.messages.limits import HELD, PRIORITIES, tries_words
from finetop.core.store import parents, run_records
from finetop.core.store.database import insert, json_text, one_row, one_value, update

CHECK_PRIORITY = 0  # a check goes ahead of queued training
TRAIN_PRIORITY = PRIORITIES["normal"]

_state = msgspec.json.Decoder(data.State)
_shares = msgspec.json.Decoder(tuple[data.Share, ...])


@dataclass(frozen=True)
class Job:
    """A queued or running job, as the scheduler sees it."""

    id: int
    run_id: int
    run_name: str
    verb: data.Verb
    args: dict[str, Any]
    folder: str  # relative to the home
    state: data.State
    asked: str
    attempt: int
    priority: int = 0  # smaller starts first
    place: float = 0.0  # among those of its priority
    held: bool = False  # until a user releases it
    not_before: float | None = None  # earliest start time
    gpus: tuple[data.Share, ...] = ()  # those of its current or last attempt
    gpu_fault: str = ""  # fault of one of them, in words

    @property
    def kind(self) -> JobKind:
        """What its verb is."""
        return job_kinds.of(self.verb)


_SELECT = (
    "SELECT id, run_id, verb, args, folder, state, asked, attempt, priority, coalesce(place, id), held, not_before,"
    " gpus, gpu_fault FROM jobs WHERE word = ?"
)


def queued(connection: Connection) -> list[Job]:
    """List waiting jobs, first to start on top."""
    return _jobs(connection, "queued")


def live(connection: Connection) -> list[Job]:
    return _jobs(connection, "running")


def _jobs(connection: Connection, word: str) -> list[Job]:
    # read on every change: a join and an order would take DuckDB 3 ms to plan, also where there is no such job
    jobs, rows = [], connection.execute(_SELECT, [word]).fetchall()
    named = _runs_of(connection, {row[1] for row in rows}) if rows else {}
    for number, run_id, verb, args, folder, state, *facts, gpus, fault in rows:
        name, run_folder = named[run_id]
        own = (msgspec.json.decode(args), f"{run_folder}/{folder}", _state.decode(state))
        jobs.append(Job(*(number, run_id, name, verb, *own, *facts, _shares.decode(gpus), fault)))
    return sorted(jobs, key=lambda job: (job.priority, job.place, job.id))


def _runs_of(connection: Connection, run_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """Map runs to their names and folders."""
    query = "SELECT id, name, folder FROM runs WHERE list_contains(?, id)"
    rows = connection.execute(query, [list(run_ids)]).fetchall()
    return {run_id: (name, folder) for run_id, name, folder in rows}


def add_job(
    connection: Connection,
    *,
    run_id: int,
    verb: str,
    args: dict[str, Any],
    priority: int = CHECK_PRIORITY,
    place: float | None = None,
    held: bool = False,
    not_before: float | None = None,
    undo: data.Before | None = None,
) -> tuple[int, str]:
    """Queue a job. Return its id and its folder, relative to the run folder."""
    job_id = run_records.next_number(connection, "jobs")
    folder = f"jobs/{job_id:04d}-{verb}"
    insert(
        connection, "jobs", id=job_id, run_id=run_id, verb=verb, args=json_text(args), priority=priority,
        created=time.time(), folder=folder, word="queued", state=json_text(data.Queued(place=0)), place=place,
        held=held, not_before=not_before, undo=None if undo is None else json_text(undo),
    )  # fmt: skip
    run_records.mark_run(connection, run_id)
    return job_id, folder


def set_state(connection: Connection, job_id: int, state: data.State) -> None:
    show_state(connection, job_id, state)
    run_records.mark_job(connection, job_id)


def show_state(connection: Connection, job_id: int, state: data.State) -> None:
    """Set a state that differs only in what the job's events report, so the run needs no new record."""
    update(connection, "jobs", job_id, word=data.word(state), state=json_text(state))


def state_of(connection: Connection, job_id: int) -> data.State:
    state: data.State = _state.decode(one_value(connection, "SELECT state FROM jobs WHERE id = ?", [job_id]))
    return state


def bytes_read(connection: Connection, job_id: int) -> int:
    """Return how many bytes of a job's events were ingested."""
    return int(one_value(connection, "SELECT bytes_read FROM jobs WHERE id = ?", [job_id]))


def events_taken(connection: Connection, job_id: int) -> int:
    """Return the highest line number of a job's events that was ingested."""
    return int(one_value(connection, "SELECT last_n FROM jobs WHERE id = ?", [job_id]))


def release_gpus(connection: Connection, job_id: int) -> None:
    """Leave the memory of a job's GPUs to others; it stays listed on them, with what its process still holds."""
    query = "SELECT gpus FROM jobs WHERE id = ?"
    shares = _shares.decode(one_value(connection, query, [job_id]))
    released = [msgspec.structs.replace(share, gib=data.RELEASED_GIB) for share in shares]
    update(connection, "jobs", job_id, gpus=json_text(released))


def begin_attempt(connection: Connection, job_id: int, gpus: Sequence[data.Share] = ()) -> int:
    """Start a new attempt on these GPUs, clearing the outcome of the last one. Return its number."""
    number = 1 + int(one_value(connection, "SELECT attempt FROM jobs WHERE id = ?", [job_id]))
    update(connection, "jobs", job_id, attempt=number, ended_word=None, gpus=json_text(gpus), gpu_fault="")
    run_records.mark_job(connection, job_id)
    return number


def last_word(connection: Connection, job_id: int) -> tuple[events.Ended | None, float]:
    """Return a job's own ended event, or None, and the time of its last event."""
    text, at = one_row(connection, "SELECT ended_word, last_event FROM jobs WHERE id = ?", [job_id])
    return msgspec.json.decode(text, type=events.Ended) if text else None, at or 0.0


def set_gpu_fault(connection: Connection, job_id: int, fault: str) -> None:
    """Record a fault of a live job's GPU; '' when it is over."""
    update(connection, "jobs", job_id, gpu_fault=fault)
    run_records.mark_job(connection, job_id)


def state_before(connection: Connection, job_id: int) -> data.Before | None:
    """Return the run's state before a job that resumes it was queued, or None."""
    undo = one_value(connection, "SELECT undo FROM jobs WHERE id = ?", [job_id])
    return msgspec.json.decode(undo, type=data.Before) if undo else None


def has_trained(connection: Connection, job_id: int) -> bool:
    """Return True if a job reached its first step: before that it has changed nothing of its run."""
    return bool(one_value(connection, "SELECT planned FROM jobs WHERE id = ?", [job_id]) != "{}")


def set_request(connection: Connection, job_id: int, request: str) -> None:
    update(connection, "jobs", job_id, asked=request)
    run_records.mark_job(connection, job_id)


def of_run(connection: Connection, run_id: int, *verbs: data.Verb) -> list[data.JobRow]:
    """List the jobs of a run, oldest first: all, or those of these verbs."""
    columns = "id, verb, state, attempt, folder, bad_lines, args, gpus, coalesce(bad_line, '')"
    query = f"SELECT {columns} FROM jobs WHERE run_id = ? AND (? = [] OR list_contains(?, verb)) ORDER BY id"
    rows = []
    for job_id, verb, state, *facts, args, gpus, line in connection.execute(
        query, [run_id, verbs, verbs]
    ).fetchall():
        seen, shares = data.visible_state(_state.decode(state)), list(_shares.decode(gpus))
        rows.append(data.JobRow(*(job_id, verb, seen, *facts, msgspec.json.decode(args), shares, line)))
    return rows


def folder_of(connection: Connection, run_id: int, job_id: int | None) -> tuple[int, str] | None:
    """Return one of a run's jobs (None: the newest): its id, and its folder relative to the home."""
    condition = "j.run_id = ? AND j.id = coalesce(?, j.id) ORDER BY j.id DESC LIMIT 1"
    query = f"SELECT j.id, r.folder || '/' || j.folder FROM jobs j JOIN runs r ON r.id = j.run_id WHERE {condition}"
    row = connection.execute(query, [run_id, job_id]).fetchone()
    return None if row is None else (int(row[0]), str(row[1]))


def commands(connection: Connection) -> list[tuple[str, dict[str, Any]]]:
    """List runs whose command has left a model, or still may, newest first: name and recipe."""
    live = "SELECT run_id FROM jobs WHERE word IN ('queued', 'running')"
    query = "SELECT name, recipe FROM runs WHERE id IN (SELECT run_id FROM jobs WHERE list_contains(?, verb))"
    query += f" AND (id IN ({live}) OR id IN (SELECT run_id FROM checkpoints)) ORDER BY id DESC"
    rows = connection.execute(query, [job_kinds.verbs_that("is_command")]).fetchall()
    return [(name, msgspec.json.decode(recipe)) for name, recipe in rows]


def imports(connection: Connection, path: str) -> list[tuple[int, str, dict[str, Any], dict[str, Any]]]:
    """List runs imported from a folder, or about to be, newest first: id, name, recipe, the job's args."""
    stands = (
        "list_contains(?, j.verb) AND j.word IN ('queued', 'running', 'finished') AND j.args->>'path' = ?"
    )
    query = "SELECT r.id, r.name, r.recipe, j.args FROM jobs j JOIN runs r ON r.id = j.run_id"
    wanted = [job_kinds.verbs_that("is_import"), path]
    rows = connection.execute(f"{query} WHERE {stands} ORDER BY j.id DESC", wanted).fetchall()
    read = msgspec.json.decode
    return [(run_id, name, read(recipe), read(args)) for run_id, name, recipe, args in rows]


def unfinished_folders(connection: Connection) -> dict[str, str]:
    """Return what jobs that ended early were to write outside their runs, with their runs' names.

    Nothing that is written to now.
    """
    query = (
        "SELECT j.verb, j.args, j.word IN ('queued', 'running'), r.name FROM jobs j JOIN runs r ON r.id = j.run_id"
        " WHERE j.word <> 'finished' ORDER BY j.id"
    )
    ended: dict[str, str] = {}
    written_now: set[str] = set()
    for verb, args, is_under_way, name in connection.execute(query).fetchall():
        folder = job_kinds.of(verb).half_written(msgspec.json.decode(args))
        if folder and is_under_way:
            written_now.add(folder)
        elif folder:
            ended[folder] = name
    return {folder: name for folder, name in ended.items() if folder not in written_now}


def waiting_line(
    connection: Connection, why: Mapping[int, str] | None = None
) -> list[tuple[Job, data.Queued]]:
    """List all waiting jobs with their places, first to start on top; `why` gives reasons for some.

    Jobs that need a user's action or another run's end come after those that start by themselves.
    """
    waiting = queued(connection)
    reasons = parents.waiting(connection) if waiting else {}
    ordered = sorted(waiting, key=lambda job: job.held or job.run_id in reasons)
    line = []
    for place, job in enumerate(ordered, 1):
        because = reasons.get(job.run_id) or (why or {}).get(job.id) or data.FOR_A_SLOT
        paused, retry = job.args.get("paused") if job.held else None, job.args.get("retry")
        if job.held:
            because = HELD if paused is None else f"paused at step {paused}"
        tries = tries_words(retry["number"], retry["of"]) if retry else ""
        line.append((job, data.Queued(place, because, job.held, paused, job.not_before, tries)))
    return line


SideJobs = dict[int, list[data.SideJob]]  # by run id


def places(
    connection: Connection, why: Mapping[int, str] | None = None
) -> tuple[dict[int, data.Queued], SideJobs]:
    """Map waiting runs to their place in the queue (1 starts next), and runs to their other waiting jobs."""
    by_run: dict[int, data.Queued] = {}
    side: SideJobs = {}
    for job, queued in waiting_line(connection, why):
        if job.kind.makes_a_run:
            by_run[job.run_id] = queued
        else:
            side.setdefault(job.run_id, []).append(data.SideJob(job.verb, queued))
    return by_run, side


def place_of(connection: Connection, run_id: int) -> int:
    """Return the place of a run's first waiting job."""
    return next(queued.place for job, queued in waiting_line(connection) if job.run_id == run_id)


def side_jobs(connection: Connection, running: Sequence[Job], waiting: SideJobs) -> SideJobs:
    """Map runs to their unfinished jobs that don't make them; `running` comes from `live`, `waiting` from `places`."""
    jobs = [job for job in running if not job.kind.makes_a_run]
    progress = tried(connection, jobs)
    by_run: SideJobs = {}
    for job in jobs:
        state = data.visible_state(job.state)
        assert isinstance(state, data.Running | data.Queued)
        by_run.setdefault(job.run_id, []).append(data.SideJob(job.verb, state, progress.get(job.id)))
    for run_id, waiting_jobs in waiting.items():
        by_run.setdefault(run_id, []).extend(waiting_jobs)
    return by_run


def tried(connection: Connection, jobs: Sequence[Job]) -> dict[int, data.Tried]:
    """Count the tried candidates of each job that has some, with the estimated time for the rest."""
    counts, by_verb = plugins.entries("sql", "TRIED"), dict[str, list[Job]]()
    for job in jobs:
        by_verb.setdefault(job.verb, []).append(job)
    progress: dict[int, data.Tried] = {}
    for verb in by_verb.keys() & counts.keys():
        progress |= counts[verb](connection, by_verb[verb])
    return progress


def counts(connection: Connection) -> tuple[dict[str, int], int]:
    """Count running jobs by verb, and all waiting ones, including those in a cluster's queue."""
    live_jobs = live(connection)
    runs = [job.verb for job in live_jobs if isinstance(data.visible_state(job.state), data.Running)]
    waiting = int(one_value(connection, "SELECT count(*) FROM jobs WHERE word = 'queued'"))
    return dict(Counter(runs)), len(live_jobs) - len(runs) + waiting


def gpus_in_use(running: Sequence[Job]) -> dict[int, str]:
    """Map runs to the GPUs of their live jobs, numbered as on the machine: 'GPU 0, 1'."""
    newest_last = sorted(running, key=lambda job: job.id)
    return {job.run_id: data.gpus_word(job.gpus) for job in newest_last if job.gpus}


def next_checkpoints(connection: Connection) -> float:
    """Return the total bytes of the next checkpoints of all training runs, estimated from their last ones."""
    training = "j.word = 'running' AND list_contains(?, j.verb) GROUP BY j.run_id"
    last = (
        "SELECT arg_max(c.size_bytes, c.step) AS size FROM jobs j JOIN checkpoints c ON c.run_id = j.run_id"
    )
    query = f"SELECT coalesce(sum(size), 0) FROM ({last} WHERE {training})"
    return float(one_value(connection, query, [job_kinds.verbs_that("trains_here")]))


def newest_finished(connection: Connection, verbs: Sequence[str], most: int) -> list[Any]:
    """Return verb, args, state and recipe (JSON but for the verb) of the newest finished jobs of these verbs."""
    query = (
        "SELECT j.verb, j.args, j.state, r.recipe FROM jobs j JOIN runs r ON r.id = j.run_id"
        " WHERE j.word = 'finished' AND list_contains(?, j.verb) ORDER BY j.id DESC LIMIT ?"
    )
    found: list[Any] = connection.execute(query, [list(verbs), most]).fetchall()
    return found
