"""Takes a job's new event lines into the store: rows and the byte offset in one transaction, so exactly once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from finetop.core import events
from finetop.core import run as data
from finetop.core.errors import StoreTrouble
from finetop.core.folders import open_regular
from finetop.core.store import checks, jobs, runs
from finetop.core.store.open import transaction

CHUNK_BYTES = 4 << 20  # read at a time; a longer line is none of ours
_json = msgspec.json.Encoder()


@dataclass
class Batch:
    """What one chunk of lines says, gathered so that each table gets one bulk append."""

    last_n: int
    bad_lines: int = 0
    last_event: float | None = None
    metrics: list[tuple[Any, ...]] = field(default_factory=list)
    scores: list[tuple[Any, ...]] = field(default_factory=list)
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    last: dict[str, float | None] = field(default_factory=dict)
    step: int = 0
    started: events.Started | None = None
    phase: tuple[float, events.Phase] | None = None
    planned: events.Planned | None = None
    first_row: events.FirstRow | None = None
    verdicts: list[tuple[float, events.Verdict | events.Resumed]] = field(default_factory=list)
    resumed: int | None = None  # the earliest step that was gone back to
    stands: int = 0  # the last one
    best: events.Best | None = None
    ended: events.Ended | None = None


def take_in(connection: duckdb.DuckDBPyConnection, job_id: int, file: Path) -> bool:
    """Read one chunk of a job's events from where the last one ended. Returns whether there was anything.

    A line that can't be read is counted and left out; an event whose number was already taken in (a file written
    twice) is left out too. Raises duckdb.Error when the store can't commit: nothing is taken in then; NewerEvents
    where a newer finetop's events begin: what stands before is taken in, the rest is left for that finetop.
    """
    found = connection.execute(
        "SELECT run_id, bytes_read, last_n, skipping FROM jobs WHERE id = ?", [job_id]
    ).fetchone()
    assert found is not None
    run_id, offset, last_n, skipping = found
    chunk = _read(file, offset)
    if not chunk:
        return False
    end = chunk.rfind(b"\n") + 1
    if not end:
        if len(chunk) < CHUNK_BYTES:
            return False  # a line that is still being written
        _move(connection, job_id, offset + len(chunk), skipping=True)
        return True
    lines = chunk[:end].split(b"\n")[:-1]
    batch = Batch(last_n)
    if skipping:
        batch.bad_lines += 1
        lines = lines[1:]
    newer = 0
    for index, line in enumerate(lines):
        if newer := newer_format(line):
            end -= sum(len(one) + 1 for one in lines[index:])
            break
        _sort_in(batch, run_id, job_id, line)
    if newer and not end:
        raise NewerEvents(newer)
    with transaction(connection):
        _write(connection, batch, run_id, job_id)
        connection.execute(
            "UPDATE jobs SET bytes_read = ?, last_n = ?, bad_lines = bad_lines + ?, skipping = false,"
            " last_event = coalesce(?, last_event) WHERE id = ?",
            [offset + end, batch.last_n, batch.bad_lines, batch.last_event, job_id],
        )
    return True


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


def _read(file: Path, offset: int) -> bytes:
    try:
        with open_regular(file) as opened:
            return os.pread(opened.fileno(), CHUNK_BYTES, offset)
    except FileNotFoundError:
        return b""


def _move(connection: duckdb.DuckDBPyConnection, job_id: int, offset: int, *, skipping: bool) -> None:
    with transaction(connection):
        connection.execute(
            "UPDATE jobs SET bytes_read = ?, skipping = ? WHERE id = ?", [offset, skipping, job_id]
        )


def _sort_in(batch: Batch, run_id: int, job_id: int, raw: bytes) -> None:
    if not raw.strip():
        return
    try:
        line = events.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        batch.bad_lines += 1
        return
    if line.n <= batch.last_n:
        return
    batch.last_n = line.n
    batch.last_event = line.t
    event = line.e
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
    elif isinstance(event, events.Resumed):
        _go_back(batch, line.t, event)
    elif isinstance(event, events.Phase):
        batch.phase = (line.t, event)
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


STEP_OF = {"checkpoints": 2, "samples": 1, "alarms": 2}  # where a row of these has its step


def _go_back(batch: Batch, at: float, event: events.Resumed) -> None:
    """Leave out what was said of later steps so far: they are of a run that is no more."""
    batch.resumed = event.step if batch.resumed is None else min(batch.resumed, event.step)
    batch.stands = event.step
    batch.metrics = [row for row in batch.metrics if row[2] <= event.step]
    for table, place in STEP_OF.items():
        batch.rows[table] = [row for row in batch.rows.get(table, []) if row[place] <= event.step]
    batch.verdicts.append((at, event))
    batch.last.clear()
    batch.step = 0


def _plain_row(
    event: events.Sample | events.Checkpoint | events.Alarm | events.DataRead,
    run_id: int,
    job_id: int,
    at: float,
) -> tuple[str, tuple[Any, ...]]:
    """Turn an event that is one row of one table into that row."""
    fields = msgspec.structs.astuple(event)
    if isinstance(event, events.Checkpoint):
        return "checkpoints", (run_id, job_id, *fields, at)
    if isinstance(event, events.Alarm):
        return "alarms", (run_id, *fields, at)
    return ("samples" if isinstance(event, events.Sample) else "data_reports"), (run_id, *fields)


def _write(connection: duckdb.DuckDBPyConnection, batch: Batch, run_id: int, job_id: int) -> None:
    if batch.started is not None:
        connection.execute(
            "DELETE FROM data_reports WHERE run_id = ? AND 'train' = (SELECT verb FROM jobs WHERE id = ?)",
            [run_id, job_id],
        )
    if batch.resumed is not None:
        runs.forget_later(connection, run_id, batch.resumed)
    # sorted by key and step, a chart's query reads one stretch: 3 ms in place of 27 for 10 million points
    batch.metrics.sort(key=lambda row: (row[1], row[2]))
    for table, rows in (("metrics", batch.metrics), ("item_scores", batch.scores), *batch.rows.items()):
        if rows:
            with connection.appender(table) as appender:
                appender.append_rows(rows)
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
    if batch.resumed is not None:
        runs.go_back(connection, run_id, batch.stands)
    if batch.last:
        found = connection.execute("SELECT last FROM runs WHERE id = ?", [run_id]).fetchone()
        assert found is not None
        connection.execute(
            "UPDATE runs SET last = ?, step = greatest(step, ?) WHERE id = ?",
            [_text({**msgspec.json.decode(found[0]), **batch.last}), batch.step, run_id],
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
    if batch.phase is not None:
        _show_phase(connection, run_id, job_id, *batch.phase)
    if batch.ended is not None:
        connection.execute(
            "UPDATE jobs SET ended_word = ? WHERE id = ?", [_json.encode(batch.ended).decode(), job_id]
        )
    if batch.verdicts or batch.best is not None or batch.rows.get("alarms"):
        runs.set_rank(connection, run_id)


def _show_phase(
    connection: duckdb.DuckDBPyConnection, run_id: int, job_id: int, at: float, phase: events.Phase
) -> None:
    found = connection.execute("SELECT state, verb FROM jobs WHERE id = ?", [job_id]).fetchone()
    assert found is not None
    state = msgspec.json.decode(found[0], type=data.State)
    if not isinstance(state, data.Running):
        return
    state = msgspec.structs.replace(
        state, phase=phase.name, done=phase.done, total=phase.total, unit=phase.unit, left_s=phase.left_s
    )
    jobs.show_state(connection, job_id, state)
    if found[1] in data.MAKES_A_RUN:
        runs.show_state(connection, run_id, state)


def _text(value: Any) -> str:
    return _json.encode(value).decode()
