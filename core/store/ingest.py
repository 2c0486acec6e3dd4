"""Takes the jobs' new event lines into the store: rows and byte offsets in one transaction, so exactly once."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from finetop.core import events
from finetop.core import run as data
from finetop.core.check.telling import result as results
from finetop.core.errors import StoreTrouble
from finetop.core.folders import open_regular
from finetop.core.store import alarms, checks, notices, runs
from finetop.core.store.open import transaction

CHUNK_BYTES = 1 << 20  # of one job's events at a time: about 50 ms of decoding, and 20 MB of rows
LINE_BYTES = 4 << 20  # a longer line is none of ours
LARGEST_GAP = 10**9  # of numbers, which a full disk costs; a line further ahead would hide all that follow
_json = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the store stands in a job's events."""

    job_id: int
    run_id: int
    verb: data.Verb
    state: str  # JSON
    bytes_read: int
    last_n: int
    skipping: bool  # inside a line too long to be one of ours


@dataclass
class Batch:
    """What one chunk of a job's lines says, gathered so that each table gets one bulk append for all jobs."""

    place: Place
    last_n: int
    bytes_read: int
    skipping: bool = False
    bad_lines: int = 0
    bad_line: str | None = None  # where the first of them is, and why it can't be read
    last_event: float | None = None
    metrics: list[tuple[Any, ...]] = field(default_factory=list)
    scores: list[tuple[Any, ...]] = field(default_factory=list)
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    alarms: alarms.Told = field(default_factory=alarms.Told)
    last: dict[str, float | None] = field(default_factory=dict)
    step: int = 0
    started: events.Started | None = None
    phase: events.Phase | None = None
    planned: events.Planned | None = None
    first_row: events.FirstRow | None = None
    verdicts: list[tuple[float, events.Verdict | events.Resumed]] = field(default_factory=list)
    resumed: int | None = None  # the earliest step that was gone back to
    stands: int = 0  # the last one
    best: events.Best | None = None
    ended: events.Ended | None = None
    newer: int = 0  # the format that begins where this chunk ends, when only a newer finetop reads it
    is_last: bool = True  # there was no more when it was read

    @property
    def is_empty(self) -> bool:
        return self.bytes_read == self.place.bytes_read

    def leave_out(self, at: int, why: str) -> None:
        """Count a line that can't be read, which begins at this byte."""
        self.bad_lines += 1
        if self.bad_line is None:
            self.bad_line = f"byte {at}, {why}"


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the jobs whose events were to be taken in."""

    told: list[int]  # those that had told something
    more: list[int]  # those whose turn it was not; then those that have more
    newer: dict[int, NewerEvents]


def take_in(connection: duckdb.DuckDBPyConnection, job_id: int, file: Path, *, tells: bool = True) -> bool:
    """Read one chunk of a job's events from where the last one ended. Returns whether there was anything.

    Raises what `take_in_all` raises; NewerEvents where a newer finetop's events begin and nothing stands before them.
    """
    taken = take_in_all(connection, {job_id: file}, tells=tells)
    if taken.newer and not taken.told:
        raise taken.newer[job_id]
    return bool(taken.told)


def take_in_all(
    connection: duckdb.DuckDBPyConnection,
    files: Mapping[int, Path],
    *,
    until: float = math.inf,
    tells: bool = True,
) -> Taken:
    """Read a chunk of each job's events from where its last one ended, and commit all in one transaction.

    A line that can't be read is counted and left out; an event whose number was already taken in (a file written
    twice) is left out too. What stands before a newer finetop's events is taken in, the rest is left for that finetop.
    Jobs are read in the order of `files` until the moment `until` (of time.monotonic), at least one.
    Without `tells` nobody is told of their alarms: they were told when they were taken in the first time.
    Raises duckdb.Error when the store can't commit: nothing is taken in then.
    """
    batches: list[Batch] = []
    for place in _places(connection, list(files)):
        if batches and time.monotonic() > until:
            break
        batches.append(_read(place, files[place.job_id]))
    told = [batch for batch in batches if not batch.is_empty]
    if told:
        with transaction(connection):
            _write(connection, told)
            if tells:
                heard = [one for batch in told for one in (*batch.alarms.heard, *_regressed(batch))]
                notices.add(connection, heard)
    looked_at = {batch.place.job_id for batch in batches}
    return Taken(
        told=[batch.place.job_id for batch in told],
        more=[job_id for job_id in files if job_id not in looked_at]
        + [batch.place.job_id for batch in batches if not batch.is_last],
        newer={batch.place.job_id: NewerEvents(batch.newer) for batch in batches if batch.newer},
    )


def _places(connection: duckdb.DuckDBPyConnection, job_ids: list[int]) -> list[Place]:
    found = connection.execute(
        "SELECT id, run_id, verb, state, bytes_read, last_n, skipping FROM jobs WHERE id IN (SELECT unnest(?))",
        [job_ids],
    ).fetchall()
    places = {row[0]: Place(*row) for row in found}
    return [places[job_id] for job_id in job_ids]


class NewerEvents(StoreTrouble):
    """A job writes events of a format that this program does not know."""

    def __init__(self, format_: int) -> None:
        super().__init__(
            f"its events are of format {format_}, and this finetop reads {events.FORMAT}.",
            hint="A newer finetop wrote them: `finetop supervisor stop`, then use that one.",
        )


def newer_format(line: bytes) -> int:
    """Say which format begins with this line, if it is one that we do not know; else 0."""
    if b'"started"' not in line or b'"format"' not in line:
        return 0
    try:
        event = msgspec.json.decode(line)["e"]
        found = int(event["format"]) if event["type"] == "started" else 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError, ValueError):
        return 0
    return found if found > events.FORMAT else 0


def _read(place: Place, file: Path) -> Batch:
    """Read one chunk of whole lines; or pass over a piece of a line that is too long."""
    batch = Batch(place, place.last_n, place.bytes_read, place.skipping)
    chunk, size = _chunk(file, place.bytes_read, CHUNK_BYTES)
    if len(chunk) == CHUNK_BYTES and b"\n" not in chunk:
        chunk, size = _chunk(file, place.bytes_read, LINE_BYTES)
    end = chunk.rfind(b"\n") + 1
    if not end:
        if len(chunk) >= LINE_BYTES:
            batch.bytes_read, batch.skipping = place.bytes_read + len(chunk), True
            batch.is_last = False
        return batch  # else: a line that is still being written
    lines = chunk[:end].split(b"\n")[:-1]
    at = place.bytes_read
    if place.skipping:
        batch.leave_out(at, f"the line that ends here is longer than {LINE_BYTES >> 20} MiB")
        at += len(lines[0]) + 1
        lines, batch.skipping = lines[1:], False
    for index, line in enumerate(lines):
        if newer := newer_format(line):
            batch.newer = newer
            end -= sum(len(one) + 1 for one in lines[index:])
            break
        _sort_in(batch, at, line)
        at += len(line) + 1
    batch.bytes_read = place.bytes_read + end
    batch.is_last = place.bytes_read + len(chunk) >= size
    return batch


def _chunk(file: Path, offset: int, limit: int) -> tuple[bytes, int]:
    """Read a piece of a file. Returns it, and the file's size."""
    try:
        with open_regular(file) as opened:
            return os.pread(opened.fileno(), limit, offset), os.fstat(opened.fileno()).st_size
    except FileNotFoundError:
        return b"", 0


def _sort_in(batch: Batch, at: int, raw: bytes) -> None:
    if not raw.strip():
        return
    try:
        line = events.decode(raw)
    except events.Unreadable as error:
        batch.leave_out(at, str(error))
        return
    if line.n <= batch.last_n:
        return
    if line.n > batch.last_n + LARGEST_GAP:
        batch.leave_out(at, f"its number {line.n} is far ahead of the last, {batch.last_n}")
        return
    if isinstance(line.e, events.Resumed) and batch.place.verb != "train":
        batch.leave_out(at, f"a job that is to {batch.place.verb} goes on from no step")
        return
    batch.last_n = line.n
    batch.last_event = line.t
    event, run_id, job_id = line.e, batch.place.run_id, batch.place.job_id
    if isinstance(event, events.Metrics):
        batch.step = max(batch.step, event.step)
        for key, value in event.values.items():
            batch.metrics.append((run_id, key, event.step, line.t, value, event.bad.get(key)))
            batch.last[key] = value
    elif isinstance(event, events.Scores):
        for item in event.items:
            batch.scores.append(
                (
                    run_id,
                    job_id,
                    event.model,
                    event.key,
                    event.task,
                    *msgspec.structs.astuple(item),
                    event.step,
                )
            )
    elif isinstance(event, events.Alarm):
        batch.alarms.take(run_id, line.t, event)
    elif isinstance(event, events.Resumed):
        _go_back(batch, line.t, event)
    elif isinstance(event, events.Phase):
        batch.phase = event
    elif isinstance(event, events.Started):
        batch.started, batch.best, batch.ended = event, None, None  # an attempt's best and end are its own
        batch.rows.pop("data_reports", None)  # it reads its data again
    elif isinstance(event, events.Planned):
        batch.planned = event
    elif isinstance(event, events.FirstRow):
        batch.first_row = event
    elif isinstance(event, events.Verdict):
        batch.verdicts.append((line.t, event))
    elif isinstance(event, events.Best):
        batch.best = event
    elif isinstance(event, events.Ended):
        batch.ended = event
    else:
        table, row = _plain_row(event, run_id, job_id, line.t)
        batch.rows.setdefault(table, []).append(row)


STEP_OF = {"checkpoints": 2, "samples": 1}  # where a row of these has its step


def _go_back(batch: Batch, at: float, event: events.Resumed) -> None:
    """Leave out what was said of later steps so far: they are of a run that is no more."""
    batch.resumed = event.step if batch.resumed is None else min(batch.resumed, event.step)
    batch.stands = event.step
    batch.metrics = [row for row in batch.metrics if row[2] <= event.step]
    for table, place in STEP_OF.items():
        batch.rows[table] = [row for row in batch.rows.get(table, []) if row[place] <= event.step]
    batch.alarms.go_back(event.step)
    batch.verdicts.append((at, event))
    batch.last.clear()
    batch.step = 0


def _plain_row(
    event: events.Sample | events.Checkpoint | events.DataRead,
    run_id: int,
    job_id: int,
    at: float,
) -> tuple[str, tuple[Any, ...]]:
    """Turn an event that is one row of one table into that row."""
    fields = msgspec.structs.astuple(event)
    if isinstance(event, events.Checkpoint):
        return "checkpoints", (run_id, job_id, *fields, at)
    return ("samples" if isinstance(event, events.Sample) else "data_reports"), (run_id, *fields)


def _write(connection: duckdb.DuckDBPyConnection, batches: list[Batch]) -> None:
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
    for batch in batches:
        batch.alarms.write(connection, batch.place.run_id)
        if batch.resumed is not None:
            runs.go_back(connection, batch.place.run_id, batch.stands)
    _move_on(connection, batches)
    for batch in batches:
        _write_rare(connection, batch)


def _make_room(connection: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """Remove what this chunk tells anew."""
    if batch.started is not None:
        connection.execute(
            "DELETE FROM data_reports WHERE run_id = ? AND 'train' = (SELECT verb FROM jobs WHERE id = ?)",
            [batch.place.run_id, batch.place.job_id],
        )
    if batch.resumed is not None:
        runs.forget_later(connection, batch.place.run_id, batch.resumed)


def _move_on(connection: duckdb.DuckDBPyConnection, batches: list[Batch]) -> None:
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


def _show_in_runs(connection: duckdb.DuckDBPyConnection, told: list[tuple[Batch, str | None]]) -> None:
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
    """Give the state of a job that runs with its newest phase, as JSON; None where nothing is new."""
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


def _write_rare(connection: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """Write what a job tells once or a few times."""
    run_id, job_id = batch.place.run_id, batch.place.job_id
    if batch.started is not None:
        connection.execute(
            "UPDATE jobs SET device = ?, versions = ?, ended_word = NULL WHERE id = ?",
            [f"{batch.started.device} {batch.started.dtype}", _text(batch.started.versions), job_id],
        )
    if batch.planned is not None:
        planned = msgspec.structs.asdict(batch.planned)
        connection.execute("UPDATE jobs SET planned = ? WHERE id = ?", [_text(planned), job_id])
        connection.execute("UPDATE runs SET steps = ? WHERE id = ?", [batch.planned.steps, run_id])
    if batch.first_row is not None:
        connection.execute(
            "UPDATE runs SET first_row = ? WHERE id = ?", [_text(batch.first_row.pieces), run_id]
        )
    for at, said in batch.verdicts:
        if isinstance(said, events.Resumed):
            checks.supersede(connection, run_id, said.step)
        else:
            checks.add(connection, run_id, job_id, at, said)
    if batch.started is not None or batch.best is not None:
        best = batch.best and _text(data.Best(batch.best.step, batch.best.text))
        connection.execute(
            "UPDATE runs SET best = ? WHERE id = ? AND 'train' = (SELECT verb FROM jobs WHERE id = ?)",
            [best, run_id, job_id],
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
        notices.New(batch.place.run_id, "regressed", step, results.short_answer(check), at)
        for at, step, check in told
        if check.verdict == "regressed" and not check.watch
    ]


def _text(value: Any) -> str:
    return _json.encode(value).decode()
