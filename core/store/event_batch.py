"""Decodes one chunk of a job's event lines into rows, so that each table gets one bulk append for all jobs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.protocol import events, job_kinds, runs as data
from finetop.core.protocol.job_kinds import JobKind
from finetop.core.protocol.numbers_from import NumbersFrom
from finetop.core.runtime.files import open_regular
from finetop.core.store import alarms

CHUNK_BYTES = 1 << 20  # of one job's events at a time: about 50 ms of decoding, and 20 MB of rows
LINE_BYTES = 4 << 20  # no valid line is longer
LARGEST_GAP = 10**9  # in line numbers (lines lost on a full disk); a line further ahead would hide the rest


@dataclass(frozen=True, slots=True)
class Place:
    """How far the store has read a job's events."""

    job_id: int
    run_id: int
    verb: data.Verb
    state: str  # JSON
    bytes_read: int
    last_n: int
    skipping: bool  # inside a line that is too long to be valid

    @property
    def kind(self) -> JobKind:
        """What the job's verb is."""
        return job_kinds.of(self.verb)


@dataclass
class Batch:
    """The rows and events of one chunk of a job's lines."""

    place: Place
    last_n: int
    bytes_read: int
    skipping: bool = False
    bad_lines: int = 0
    bad_line: str | None = None  # where the first of them is, and its error
    last_event: float | None = None
    metrics: list[tuple[Any, ...]] = field(default_factory=list)
    scores: list[tuple[Any, ...]] = field(default_factory=list)
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    alarms: alarms.AlarmBatch = field(default_factory=alarms.AlarmBatch)
    last: dict[str, float | None] = field(default_factory=dict)
    step: int = 0
    started: events.Started | None = None
    phase: events.Phase | None = None
    releases_gpu: bool = False
    planned: events.Planned | None = None
    numbers_from: NumbersFrom | None = None
    first_row: events.FirstRow | None = None
    verdicts: list[tuple[float, events.Verdict | events.Resumed]] = field(default_factory=list)
    resumed: int | None = None  # the earliest step that the run went back to
    stands: int = 0  # the last one
    best: events.Best | None = None
    of_features: list[tuple[float, events.Event]] = field(
        default_factory=list
    )  # what a feature's sql.py stores
    ended: events.Ended | None = None
    newer: int = 0  # the format that begins where this chunk ends, if only a newer finetop reads it
    is_last: bool = True  # nothing followed when it was read

    @property
    def is_empty(self) -> bool:
        return self.bytes_read == self.place.bytes_read

    def leave_out(self, at: int, reason: str) -> None:
        """Count an unreadable line that begins at this byte."""
        self.bad_lines += 1
        if self.bad_line is None:
            self.bad_line = f"byte {at}, {reason}"


def read(place: Place, file: Path) -> Batch:
    """Read one chunk of whole lines, or skip a piece of a line that is too long.

    A file that was cut or deleted is read from the start: lines already ingested are recognised by their numbers.
    """
    batch = Batch(place, place.last_n, place.bytes_read, place.skipping)
    at = place.bytes_read
    chunk, size = _chunk(file, at, CHUNK_BYTES)
    if size < at:
        batch.leave_out(
            size, f"the file was cut here, or deleted: {at - size:,} bytes that were read are gone"
        )
        at, batch.bytes_read, batch.skipping = 0, 0, False
        chunk, size = _chunk(file, at, CHUNK_BYTES)
    if len(chunk) == CHUNK_BYTES and b"\n" not in chunk:
        chunk, size = _chunk(file, at, LINE_BYTES)
    end = chunk.rfind(b"\n") + 1
    batch.is_last = at + len(chunk) >= size
    if not end:
        if len(chunk) >= LINE_BYTES:
            batch.bytes_read, batch.skipping = at + len(chunk), True
            batch.is_last = False
        return batch  # else a line that is still being written
    begins = at
    lines = chunk[:end].split(b"\n")[:-1]
    if batch.skipping:
        batch.leave_out(at, f"the line that ends here is longer than {LINE_BYTES >> 20} MiB")
        at += len(lines[0]) + 1
        lines, batch.skipping = lines[1:], False
    for index, line in enumerate(lines):
        if newer := newer_format(line):
            batch.newer = newer
            end -= sum(len(remaining) + 1 for remaining in lines[index:])
            break
        _sort_in(batch, at, line)
        at += len(line) + 1
    batch.bytes_read = begins + end
    return batch


def _chunk(file: Path, offset: int, limit: int) -> tuple[bytes, int]:
    """Read a piece of a file. Return it and the file's size."""
    try:
        with open_regular(file) as opened:
            return os.pread(opened.fileno(), limit, offset), os.fstat(opened.fileno()).st_size
    except FileNotFoundError:
        return b"", 0


def newer_format(line: bytes) -> int:
    """Return the unknown format that starts with this line, or 0."""
    if b'"started"' not in line or b'"format"' not in line:
        return 0
    try:
        event = msgspec.json.decode(line)["e"]
        version = int(event["format"]) if event["type"] == "started" else 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError, ValueError):
        return 0
    return version if version > events.FORMAT else 0


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
    if isinstance(line.e, events.Resumed | events.TakenBack) and not batch.place.kind.reports_steps:
        batch.leave_out(at, f"a job with verb {batch.place.verb} can't resume from a step")
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
        head = (run_id, job_id, event.model, event.key, event.task)
        batch.scores += [(*head, *msgspec.structs.astuple(item), event.step) for item in event.items]
    elif isinstance(event, events.Alarm):
        batch.alarms.add(run_id, line.t, event)
    elif isinstance(event, events.Resumed):
        _go_back(batch, line.t, event.step)
    elif isinstance(event, events.TakenBack):
        _go_back(batch, line.t, event.step - 1)
    elif isinstance(event, NumbersFrom):
        batch.numbers_from = event
    elif isinstance(event, events.Phase):
        if batch.place.kind.trains_here and event.name != "training":
            # training's as it was last: an evaluation on the way has an end of its own
            left_s = None if batch.phase is None else batch.phase.left_s
            event = msgspec.structs.replace(event, left_s=left_s)
        batch.phase = event
        batch.releases_gpu = batch.releases_gpu or event.releases_gpu
    elif isinstance(event, events.Started):
        batch.started, batch.best, batch.ended = event, None, None  # best and end belong to an attempt
        batch.releases_gpu = False
        for table in ("data_reports", "data_sources"):  # it reads its data again
            batch.rows.pop(table, None)
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
    elif isinstance(event, events.Sample | events.Checkpoint | events.DataRead | events.SourceRead):
        table, row = _plain_row(event, run_id, job_id, line.t)
        batch.rows.setdefault(table, []).append(row)
    else:
        batch.of_features.append((line.t, event))


STEP_OF = {"checkpoints": 2, "samples": 1}  # place of the step in a row


def _go_back(batch: Batch, at: float, step: int) -> None:
    """Drop what was read of later steps: they belong to a discarded part of the run."""
    batch.resumed = step if batch.resumed is None else min(batch.resumed, step)
    batch.stands = step
    batch.metrics = [row for row in batch.metrics if row[2] <= step]
    for table, place in STEP_OF.items():
        batch.rows[table] = [row for row in batch.rows.get(table, []) if row[place] <= step]
    batch.alarms.go_back(step)
    batch.verdicts.append((at, events.Resumed(max(0, step))))
    batch.last.clear()
    batch.step = 0


def _plain_row(
    event: events.Sample | events.Checkpoint | events.DataRead | events.SourceRead,
    run_id: int,
    job_id: int,
    at: float,
) -> tuple[str, tuple[Any, ...]]:
    """Turn an event that is one row of one table into that row."""
    fields = msgspec.structs.astuple(event)
    if isinstance(event, events.Checkpoint):
        return "checkpoints", (run_id, job_id, *fields, at)
    if isinstance(event, events.SourceRead):
        origin = None if event.origin is None else msgspec.json.encode(event.origin).decode()
        return "data_sources", (run_id, job_id, at, *fields[:-2], origin, event.system)
    return ("samples" if isinstance(event, events.Sample) else "data_reports"), (run_id, *fields)
