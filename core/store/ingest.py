"""Ingests jobs' new event lines: rows and byte offsets in one transaction, so each line counts exactly once."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core import plugins
from finetop.core.errors import StoreTrouble
from finetop.core.protocol import check_result as results, events, runs as data
from finetop.core.store import checks, jobs, notices, recipe_settings, runs
from finetop.core.store.database import append, json_text, one_value, read_as, transaction, update
from finetop.core.store.event_batch import Batch, Place, read
from finetop.core.wording import verdicts

_MOVED = ("bytes_read", "last_n", "skipping", "bad_lines", "bad_line", "last_event")  # of a batch
_MOVE_ON = """
    UPDATE jobs SET bytes_read = new.bytes_read, last_n = new.last_n, skipping = new.skipping,
    bad_lines = jobs.bad_lines + new.bad_lines, bad_line = coalesce(jobs.bad_line, new.bad_line),
    last_event = coalesce(new.last_event, jobs.last_event), state = coalesce(new.state, jobs.state) FROM
    (SELECT unnest(?::INTEGER[]) AS id, unnest(?::BIGINT[]) AS bytes_read, unnest(?::BIGINT[]) AS last_n,
    unnest(?::BOOLEAN[]) AS skipping, unnest(?::INTEGER[]) AS bad_lines, unnest(?::VARCHAR[]) AS bad_line,
    unnest(?::DOUBLE[]) AS last_event, unnest(?::VARCHAR[]) AS state) new WHERE jobs.id = new.id
"""
_SHOW = """
    UPDATE runs SET last = new.last, step = greatest(runs.step, new.step), state = coalesce(new.state, runs.state)
    FROM (SELECT unnest(?::INTEGER[]) AS id, unnest(?::VARCHAR[]) AS last, unnest(?::INTEGER[]) AS step,
    unnest(?::VARCHAR[]) AS state) new WHERE runs.id = new.id
"""
# replaces the dtype that a job assumed before it loaded the model
_DEVICE = "left(device, length(device) - position(' ' IN reverse(device)))"
_SET_DTYPE = f"UPDATE jobs SET device = {_DEVICE} || ' ' || ? WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome of an ingest."""

    ingested: list[int]  # jobs whose events were ingested
    more: list[int]  # jobs that had no turn, then those with more events
    newer: dict[int, NewerEvents]


def take_in(connection: Connection, job_id: int, file: Path, *, tells: bool = True) -> bool:
    """Ingest one chunk of a job's events after the last one. Return True if there was any.

    Raises as `take_in_all`, and NewerEvents if a newer finetop's events begin with nothing readable before them.
    """
    result = take_in_all(connection, {job_id: file}, tells=tells)
    if result.newer and not result.ingested:
        raise result.newer[job_id]
    return bool(result.ingested)


def take_in_all(connection: Connection, files: Mapping[int, Path], *, tells: bool = True) -> Taken:
    """Ingest the next chunk of each job's events, all in one transaction. Raises as `read_all` and `commit`."""
    batches = read_all(places(connection, list(files)), files)
    return commit(connection, list(files), batches, tells=tells)


def places(connection: Connection, job_ids: list[int]) -> list[Place]:
    """Return how far each job's events have been ingested, in the given order."""
    columns = "id, run_id, verb, state, bytes_read, last_n, skipping"
    query = f"SELECT {columns} FROM jobs WHERE id IN (SELECT unnest(?))"
    stands = {place.job_id: place for place in read_as(connection, Place, query, [job_ids])}
    return [stands[job_id] for job_id in job_ids]


def read_all(stands: Sequence[Place], files: Mapping[int, Path], *, work_s: float = math.inf) -> list[Batch]:
    """Read the next chunk of each job's events; may run in a thread.

    Jobs are read in order until `work_s` of CPU time is used, at least one: all is committed at once, and since only
    CPU time counts, a slow disk costs no job its turn. Raises OSError.
    """
    batches: list[Batch] = []
    began = time.thread_time()
    for place in stands:
        if batches and time.thread_time() - began > work_s:
            break
        batches.append(read(place, files[place.job_id]))
    return batches


def commit(
    connection: Connection, job_ids: Sequence[int], batches: Sequence[Batch], *, tells: bool = True
) -> Taken:
    """Commit chunks of these jobs in one transaction.

    Unreadable lines are counted and skipped; events whose number was already ingested (a file written twice) are
    skipped. What precedes a newer finetop's events is ingested, the rest is left for that finetop. A batch counts only
    if it begins where the store stands; otherwise it was ingested meanwhile, and is read again. With `tells` false no
    notices are added: they were when the events were first ingested. Raises duckdb.Error if the commit fails: nothing
    is ingested then.
    """
    written = _that_fit(connection, [batch for batch in batches if not batch.is_empty])
    if written:
        with transaction(connection):
            _write(connection, written)
            if tells:
                heard = [notice for batch in written for notice in (*batch.alarms.heard, *_regressed(batch))]
                notices.add(connection, heard)
    ingested = [batch.place.job_id for batch in written]
    by_job = {batch.place.job_id: batch for batch in batches}
    done = {job_id: batch for job_id, batch in by_job.items() if batch.is_empty or job_id in ingested}
    waiting = [job_id for job_id in job_ids if job_id not in done]
    going_on = [job_id for job_id, batch in done.items() if not batch.is_last]
    newer = {job_id: NewerEvents(batch.newer) for job_id, batch in done.items() if batch.newer}
    return Taken(ingested, [*waiting, *going_on], newer)


def _that_fit(connection: Connection, batches: list[Batch]) -> list[Batch]:
    """Return the batches that begin where the store stands, with their jobs' current states."""
    fitting = []
    stands = places(connection, [batch.place.job_id for batch in batches])
    for batch, now in zip(batches, stands, strict=True):
        if replace(batch.place, state=now.state) == now:
            batch.place = now
            fitting.append(batch)
    return fitting


class NewerEvents(StoreTrouble):
    """A job's events have a format that this finetop does not know."""

    def __init__(self, format_: int) -> None:
        hint = "A newer finetop wrote them: `finetop supervisor stop`, then use that one."
        message = f"its events have format {format_}; this finetop reads {events.FORMAT}."
        super().__init__(message, hint=hint)


def _write(connection: Connection, batches: list[Batch]) -> None:
    """Write the batches of several jobs: a few statements for all of them."""
    for batch in batches:
        _make_room(connection, batch)
    # sorted by run, key and step, a chart's query reads one range: 3 ms instead of 27 for 10 million points
    metrics = [row for batch in batches for row in batch.metrics]
    metrics.sort(key=itemgetter(0, 1, 2))
    tables: dict[str, list[tuple[Any, ...]]] = {"metrics": metrics}
    for batch in batches:
        for table, rows in (("item_scores", batch.scores), *batch.rows.items()):
            tables.setdefault(table, []).extend(rows)
    for table, rows in tables.items():
        append(connection, table, rows)
    for table, number in plugins.entries("sql", "ROWS").items():
        if tables.get(table):
            number(connection, tables[table])
    for batch in batches:
        batch.alarms.write(connection, batch.place.run_id)
        if batch.resumed is not None:
            runs.go_back(connection, batch.place.run_id, batch.stands)
    _move_on(connection, batches)
    for batch in batches:
        _write_rare(connection, batch)


def _make_room(connection: Connection, batch: Batch) -> None:
    """Delete rows that this chunk replaces."""
    if batch.started is not None:
        if batch.place.kind.trains_here:
            connection.execute("DELETE FROM data_reports WHERE run_id = ?", [batch.place.run_id])
        connection.execute("DELETE FROM data_sources WHERE job_id = ?", [batch.place.job_id])
    if batch.resumed is not None:
        runs.forget_later(connection, batch.place.run_id, batch.resumed)


def _move_on(connection: Connection, batches: list[Batch]) -> None:
    """Advance the offsets, with the jobs' and runs' states and last numbers."""
    states = [_state_of(batch) for batch in batches]
    columns = [[getattr(batch, key) for batch in batches] for key in _MOVED]
    connection.execute(_MOVE_ON, [[batch.place.job_id for batch in batches], *columns, states])
    _show_in_runs(connection, list(zip(batches, states, strict=True)))


def _show_in_runs(connection: Connection, with_states: list[tuple[Batch, str | None]]) -> None:
    """Store last numbers and states with the runs, for the list."""
    of_runs = [
        (batch, state if batch.place.kind.makes_a_run else None)
        for batch, state in with_states
        if batch.last or (state is not None and batch.place.kind.makes_a_run)
    ]
    if not of_runs:
        return
    run_ids = [batch.place.run_id for batch, _ in of_runs]
    query = "SELECT id, last FROM runs WHERE id IN (SELECT unnest(?))"
    rows = connection.execute(query, [run_ids]).fetchall()
    last = {run_id: msgspec.json.decode(text) for run_id, text in rows}
    steps = dict.fromkeys(last, 0)
    states: dict[int, str | None] = dict.fromkeys(last)
    for batch, state in of_runs:  # a run may have several live jobs
        run_id = batch.place.run_id
        last[run_id].update(batch.last)
        steps[run_id] = max(steps[run_id], batch.step)
        states[run_id] = state or states[run_id]
    numbers = list(map(json_text, last.values()))
    connection.execute(_SHOW, [list(last), numbers, list(steps.values()), list(states.values())])


def _state_of(batch: Batch) -> str | None:
    """Return a running job's state with its newest phase, as JSON; None if there is no new phase."""
    if batch.phase is None:
        return None
    state = msgspec.json.decode(batch.place.state, type=data.State)
    if not isinstance(state, data.Running):
        return None
    phase = batch.phase
    left_s = phase.left_s
    if left_s is None and batch.place.kind.trains_here:
        left_s = state.left_s
    progress = {name: getattr(phase, name) for name in ("done", "total", "unit", "per_s")}
    return json_text(msgspec.structs.replace(state, phase=phase.name, left_s=left_s, **progress))


def _write_rare(connection: Connection, batch: Batch) -> None:
    """Write events that a job sends once or a few times."""
    run_id, job_id = batch.place.run_id, batch.place.job_id
    if (started := batch.started) is not None:
        device, versions = f"{started.device} {started.dtype}", json_text(started.versions)
        update(connection, "jobs", job_id, device=device, versions=versions, ended_word=None)
    if batch.releases_gpu:
        jobs.release_gpus(connection, job_id)
    if batch.planned is not None:
        planned = msgspec.structs.asdict(batch.planned)
        dtype = planned.pop("dtype")  # the rest are numbers
        update(connection, "jobs", job_id, planned=json_text(planned))
        update(connection, "runs", run_id, steps=batch.planned.steps)
        if dtype:
            connection.execute(_SET_DTYPE, [dtype, job_id])
    if batch.numbers_from is not None:
        update(connection, "jobs", job_id, numbers_from=json_text(batch.numbers_from))
        recipe_settings.store_configuration(connection, run_id, batch.numbers_from.settings)
    if batch.first_row is not None:
        update(connection, "runs", run_id, first_row=json_text(batch.first_row.pieces))
    for at, verdict in batch.verdicts:
        if isinstance(verdict, events.Resumed):
            checks.supersede(connection, run_id, verdict.step)
        else:
            checks.add(connection, run_id, job_id, at, verdict)
    stores = plugins.entries("sql", "EVENTS")
    for at, event in batch.of_features:
        stores[type(event)](connection, run_id, job_id, at, event)
    if batch.place.kind.trains_here and (batch.started is not None or batch.best is not None):
        best = batch.best and json_text(data.Best(batch.best.step, batch.best.text))
        update(connection, "runs", run_id, best=best)
    if batch.best is not None and batch.best.values:  # the run's numbers are those of its best checkpoint
        last = msgspec.json.decode(one_value(connection, "SELECT last FROM runs WHERE id = ?", [run_id]))
        update(connection, "runs", run_id, last=json_text({**last, **batch.best.values}))
    if batch.verdicts or batch.started is not None or batch.best is not None:
        update(connection, "runs", run_id, brief=checks.brief_of(connection, run_id))
    if batch.ended is not None:
        update(connection, "jobs", job_id, ended_word=json_text(batch.ended))
    if batch.verdicts or batch.best is not None or not batch.alarms.is_empty:
        runs.set_rank(connection, run_id)


def _regressed(batch: Batch) -> list[notices.New]:
    """Return notices of a check that regressed; a training job reports its own checks as alarms."""
    if not batch.place.kind.gives_verdict:
        return []
    heard = []
    for at, verdict in batch.verdicts:
        if isinstance(verdict, events.Verdict):
            check = results.brief(0, at, verdict.step, verdict.result)
            if check.verdict == "regressed" and not check.watch:
                text = verdicts.short_answer(check, name_suite=True)
                heard.append(notices.New(batch.place.run_id, "regressed", verdict.step, text, at))
    return heard
