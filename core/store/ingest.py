"""Takes the jobs' new event lines into the store: rows and byte offsets in one transaction, so exactly once."""

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

from finetop.core.errors import StoreTrouble
from finetop.core.protocol import check_result as results, events, runs as data
from finetop.core.store import approaches, checks, data_versions, notices, remedies, runs
from finetop.core.store.database import transaction
from finetop.core.store.event_batch import Batch, Place, read
from finetop.core.wording import verdicts

_json = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the jobs whose events were to be taken in."""

    told: list[int]  # those that had told something
    more: list[int]  # those whose turn it was not; then those that have more
    newer: dict[int, NewerEvents]


def take_in(connection: Connection, job_id: int, file: Path, *, tells: bool = True) -> bool:
    """Read one chunk of a job's events from where the last one ended. Returns whether there was anything.

    Raises what `take_in_all` raises; NewerEvents where a newer finetop's events begin and nothing stands before them.
    """
    taken = take_in_all(connection, {job_id: file}, tells=tells)
    if taken.newer and not taken.told:
        raise taken.newer[job_id]
    return bool(taken.told)


def take_in_all(connection: Connection, files: Mapping[int, Path], *, tells: bool = True) -> Taken:
    """Read a chunk of each job's events from where its last one ended, and commit all in one transaction.

    Raises as `read_all` and `commit`.
    """
    batches = read_all(places(connection, list(files)), files)
    return commit(connection, list(files), batches, tells=tells)


def places(connection: Connection, job_ids: list[int]) -> list[Place]:
    """Say where the store stands in the events of jobs, in their order."""
    found = connection.execute(
        "SELECT id, run_id, verb, state, bytes_read, last_n, skipping FROM jobs WHERE id IN (SELECT unnest(?))",
        [job_ids],
    ).fetchall()
    stands = {row[0]: Place(*row) for row in found}
    return [stands[job_id] for job_id in job_ids]


def read_all(stands: Sequence[Place], files: Mapping[int, Path], *, work_s: float = math.inf) -> list[Batch]:
    """Read a chunk of each job's events from where the store stands, which may be done in a thread.

    Jobs are read in their order until that took so much of the processor's time, at least one: what is gathered is
    to be committed at once, and a disk that is slow keeps no job from its turn. Raises OSError.
    """
    batches: list[Batch] = []
    began = time.thread_time()
    for place in stands:
        if batches and time.thread_time() - began > work_s:
            break
        batches.append(read(place, files[place.job_id]))
    return batches


def commit(
    connection: Connection,
    job_ids: Sequence[int],
    batches: Sequence[Batch],
    *,
    tells: bool = True,
) -> Taken:
    """Take in what was read of these jobs, in one transaction.

    A line that can't be read is counted and left out; an event whose number was already taken in (a file written
    twice) is left out too. What stands before a newer finetop's events is taken in, the rest is left for that finetop.
    A batch counts only if the store still stands where it begins: else it was taken in meanwhile, and is read again.
    Without `tells` nobody is told of their alarms: they were told when they were taken in the first time.
    Raises duckdb.Error when the store can't commit: nothing is taken in then.
    """
    told = _that_fit(connection, [batch for batch in batches if not batch.is_empty])
    if told:
        with transaction(connection):
            _write(connection, told)
            if tells:
                heard = [one for batch in told for one in (*batch.alarms.heard, *_regressed(batch))]
                notices.add(connection, heard)
    told_ids = [batch.place.job_id for batch in told]
    done = {
        batch.place.job_id: batch for batch in batches if batch.is_empty or batch.place.job_id in told_ids
    }
    return Taken(
        told=told_ids,
        more=[job_id for job_id in job_ids if job_id not in done]
        + [job_id for job_id, batch in done.items() if not batch.is_last],
        newer={job_id: NewerEvents(batch.newer) for job_id, batch in done.items() if batch.newer},
    )


def _that_fit(connection: Connection, batches: list[Batch]) -> list[Batch]:
    """Choose the batches that begin where the store stands, with the jobs' states as they are now."""
    found = []
    for batch, now in zip(
        batches, places(connection, [batch.place.job_id for batch in batches]), strict=True
    ):
        if replace(batch.place, state=now.state) == now:
            batch.place = now
            found.append(batch)
    return found


class NewerEvents(StoreTrouble):
    """A job writes events of a format that this program does not know."""

    def __init__(self, format_: int) -> None:
        super().__init__(
            f"its events have format {format_}; this finetop reads {events.FORMAT}.",
            hint="A newer finetop wrote them: `finetop supervisor stop`, then use that one.",
        )


def _write(connection: Connection, batches: list[Batch]) -> None:
    """Write what several jobs have told: a few statements for all of them, whatever their number."""
    for batch in batches:
        _make_room(connection, batch)
    # sorted by run, key and step, a chart's query reads one stretch: 3 ms in place of 27 for 10 million points
    metrics = [row for batch in batches for row in batch.metrics]
    metrics.sort(key=itemgetter(0, 1, 2))
    tables: dict[str, list[tuple[Any, ...]]] = {"metrics": metrics}
    for batch in batches:
        for table, rows in (("item_scores", batch.scores), *batch.rows.items()):
            tables.setdefault(table, []).extend(rows)
    for table, rows in tables.items():
        if rows:
            with connection.appender(table) as appender:
                appender.append_rows(rows)
    if tables.get("data_sources"):
        data_versions.number_new(connection, tables["data_sources"])
    for batch in batches:
        batch.alarms.write(connection, batch.place.run_id)
        if batch.resumed is not None:
            runs.go_back(connection, batch.place.run_id, batch.stands)
    _move_on(connection, batches)
    for batch in batches:
        _write_rare(connection, batch)


def _make_room(connection: Connection, batch: Batch) -> None:
    """Remove what this chunk tells anew."""
    if batch.started is not None:
        connection.execute(
            "DELETE FROM data_reports WHERE run_id = ? AND 'train' = (SELECT verb FROM jobs WHERE id = ?)",
            [batch.place.run_id, batch.place.job_id],
        )
        connection.execute("DELETE FROM data_sources WHERE job_id = ?", [batch.place.job_id])
    if batch.resumed is not None:
        runs.forget_later(connection, batch.place.run_id, batch.resumed)


def _move_on(connection: Connection, batches: list[Batch]) -> None:
    """Move the offsets to what was taken in, and the jobs' and runs' states and last numbers with them."""
    states = [_state_of(batch) for batch in batches]
    connection.execute(
        "UPDATE jobs SET bytes_read = new.bytes_read, last_n = new.last_n, skipping = new.skipping,"
        " bad_lines = jobs.bad_lines + new.bad_lines, bad_line = coalesce(jobs.bad_line, new.bad_line),"
        " last_event = coalesce(new.last_event, jobs.last_event),"
        " state = coalesce(new.state, jobs.state) FROM (SELECT unnest(?::INTEGER[]) AS id,"
        " unnest(?::BIGINT[]) AS bytes_read, unnest(?::BIGINT[]) AS last_n, unnest(?::BOOLEAN[]) AS skipping,"
        " unnest(?::INTEGER[]) AS bad_lines, unnest(?::VARCHAR[]) AS bad_line,"
        " unnest(?::DOUBLE[]) AS last_event, unnest(?::VARCHAR[]) AS state) new"
        " WHERE jobs.id = new.id",
        [
            [batch.place.job_id for batch in batches],
            [batch.bytes_read for batch in batches],
            [batch.last_n for batch in batches],
            [batch.skipping for batch in batches],
            [batch.bad_lines for batch in batches],
            [batch.bad_line for batch in batches],
            [batch.last_event for batch in batches],
            states,
        ],
    )
    _show_in_runs(connection, list(zip(batches, states, strict=True)))


def _show_in_runs(connection: Connection, told: list[tuple[Batch, str | None]]) -> None:
    """Keep last numbers and states beside the runs, for the list."""
    of_runs = [
        (batch, state if batch.place.verb in data.MAKES_A_RUN else None)
        for batch, state in told
        if batch.last or (state is not None and batch.place.verb in data.MAKES_A_RUN)
    ]
    if not of_runs:
        return
    found = connection.execute(
        "SELECT id, last FROM runs WHERE id IN (SELECT unnest(?))",
        [[batch.place.run_id for batch, _ in of_runs]],
    ).fetchall()
    last = {run_id: msgspec.json.decode(text) for run_id, text in found}
    steps = dict.fromkeys(last, 0)
    states: dict[int, str | None] = dict.fromkeys(last)
    for batch, state in of_runs:  # a run may have several jobs that live
        run_id = batch.place.run_id
        last[run_id].update(batch.last)
        steps[run_id] = max(steps[run_id], batch.step)
        states[run_id] = state or states[run_id]
    connection.execute(
        "UPDATE runs SET last = new.last, step = greatest(runs.step, new.step),"
        " state = coalesce(new.state, runs.state) FROM (SELECT unnest(?::INTEGER[]) AS id,"
        " unnest(?::VARCHAR[]) AS last, unnest(?::INTEGER[]) AS step, unnest(?::VARCHAR[]) AS state) new"
        " WHERE runs.id = new.id",
        [list(last), [_text(one) for one in last.values()], list(steps.values()), list(states.values())],
    )


def _state_of(batch: Batch) -> str | None:
    """Return the state of a job that runs with its newest phase, as JSON; None where nothing is new."""
    if batch.phase is None:
        return None
    state = msgspec.json.decode(batch.place.state, type=data.State)
    if not isinstance(state, data.Running):
        return None
    phase = batch.phase
    return _text(
        msgspec.structs.replace(
            state,
            phase=phase.name,
            done=phase.done,
            total=phase.total,
            unit=phase.unit,
            left_s=phase.left_s,
        )
    )


def _write_rare(connection: Connection, batch: Batch) -> None:
    """Write what a job tells once or a few times."""
    run_id, job_id = batch.place.run_id, batch.place.job_id
    if batch.started is not None:
        connection.execute(
            "UPDATE jobs SET device = ?, versions = ?, ended_word = NULL WHERE id = ?",
            [f"{batch.started.device} {batch.started.dtype}", _text(batch.started.versions), job_id],
        )
    if batch.planned is not None:
        planned = msgspec.structs.asdict(batch.planned)
        dtype = planned.pop("dtype")  # the rest are numbers
        connection.execute("UPDATE jobs SET planned = ? WHERE id = ?", [_text(planned), job_id])
        connection.execute("UPDATE runs SET steps = ? WHERE id = ?", [batch.planned.steps, run_id])
        if dtype:  # in place of what the job took for it before it had the model
            connection.execute(
                "UPDATE jobs SET device = left(device, length(device) - position(' ' IN reverse(device))) || ' ' || ?"
                " WHERE id = ?",
                [dtype, job_id],
            )
    if batch.first_row is not None:
        connection.execute(
            "UPDATE runs SET first_row = ? WHERE id = ?", [_text(batch.first_row.pieces), run_id]
        )
    for at, said in batch.verdicts:
        if isinstance(said, events.Resumed):
            checks.supersede(connection, run_id, said.step)
        else:
            checks.add(connection, run_id, job_id, at, said)
    for at, told in batch.remedies:
        remedies.take(connection, run_id, job_id, at, told)
    for at, measured in batch.measured:
        approaches.take(connection, run_id, job_id, at, measured)
    if batch.started is not None or batch.best is not None:
        best = batch.best and _text(data.Best(batch.best.step, batch.best.text))
        connection.execute(
            "UPDATE runs SET best = ? WHERE id = ? AND 'train' = (SELECT verb FROM jobs WHERE id = ?)",
            [best, run_id, job_id],
        )
    if batch.best is not None and batch.best.values:  # the run's numbers are those of what it gives
        last = msgspec.json.decode(
            connection.execute("SELECT last FROM runs WHERE id = ?", [run_id]).fetchall()[0][0]
        )
        connection.execute(
            "UPDATE runs SET last = ? WHERE id = ?", [_text({**last, **batch.best.values}), run_id]
        )
    if batch.verdicts or batch.started is not None or batch.best is not None:
        brief = checks.brief_of(connection, run_id)
        connection.execute("UPDATE runs SET brief = ? WHERE id = ?", [brief, run_id])
    if batch.ended is not None:
        connection.execute(
            "UPDATE jobs SET ended_word = ? WHERE id = ?", [_json.encode(batch.ended).decode(), job_id]
        )
    if batch.verdicts or batch.best is not None or not batch.alarms.is_empty:
        runs.set_rank(connection, run_id)


def _regressed(batch: Batch) -> list[notices.New]:
    """Say of a check's job that its model forgot; a training job says it of its own checks, as an alarm."""
    if batch.place.verb != "check":
        return []
    told = [
        (at, said.step, results.brief(0, at, said.step, said.result))
        for at, said in batch.verdicts
        if isinstance(said, events.Verdict)
    ]
    return [
        notices.New(batch.place.run_id, "regressed", step, verdicts.short_answer(check, name_suite=True), at)
        for at, step, check in told
        if check.verdict == "regressed" and not check.watch
    ]


def _text(value: Any) -> str:
    return _json.encode(value).decode()
