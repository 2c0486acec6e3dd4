"""The lines that jobs append to events.jsonl and the supervisor reads: their types, a writer, a decoder.

One JSON object a line: {"n": sequence, "t": seconds since 1970, "e": {"type": …}}. Sequence numbers start
at 1 in each job folder and go on through its attempts; order is theirs, never the clock's.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

FORMAT = 1


class Started(msgspec.Struct, tag="started", frozen=True):
    """The job's process runs: who it is and on what."""

    format: int
    attempt: int
    pid: int
    device: str  # "cpu", "cuda:0 NVIDIA H100", "mps"
    dtype: str
    versions: dict[str, str]


class Phase(msgspec.Struct, tag="phase", frozen=True):
    """What the job does now; `done` of `total` where it can be counted."""

    name: str  # "loading model", "training", "scoring base" …
    done: float | None = None
    total: float | None = None
    unit: str = ""
    left_s: float | None = None


class Planned(msgspec.Struct, tag="planned", frozen=True):
    steps: int
    epochs: float
    rows: int
    eval_rows: int
    tokens_per_epoch: int
    trainable_parameters: int
    parameters: int


class DataRead(msgspec.Struct, tag="data", frozen=True):
    """What became of one data source: nothing is dropped or cut silently."""

    source: str
    rows: int
    kept: int
    dropped: int
    truncated: int
    longest_tokens: int
    answer_tokens: int
    fingerprint: str  # sha256 of the rendered rows


class FirstRow(msgspec.Struct, tag="first_row", frozen=True):
    """The first row as the model sees it: pieces of text, each learned from or not."""

    pieces: list[tuple[str, bool]]


class Metrics(msgspec.Struct, tag="metrics", frozen=True):
    """Values at an optimizer step. A value that is not finite is null here and named in `bad`."""

    step: int
    values: dict[str, float | None]
    bad: dict[str, str] = {}  # key -> "nan", "inf", "-inf"


class Sample(msgspec.Struct, tag="sample", frozen=True):
    step: int
    index: int
    prompt: str
    text: str


class Checkpoint(msgspec.Struct, tag="checkpoint", frozen=True):
    """A complete checkpoint: written aside, synced and renamed before this line."""

    step: int
    path: str  # relative to the run folder
    size_bytes: int
    kind: str  # "adapter" or "full"


class Resumed(msgspec.Struct, tag="resumed", frozen=True):
    """The run goes on from this step's checkpoint: what was told of later steps is of a run that is no more.

    Step 0: it begins anew.
    """

    step: int


class Alarm(msgspec.Struct, tag="alarm", frozen=True):
    kind: str  # "nan", "spike", "drift" …
    step: int
    text: str


class ItemScore(msgspec.Struct, frozen=True):
    """One benchmark item under one model. `score` in [0, 1]; log-probabilities in nats."""

    item: str
    score: float
    answer: str = ""  # the choice or text it gave
    answer_log_prob: float | None = None
    gold_log_prob: float | None = None
    best_other_log_prob: float | None = None


class Scores(msgspec.Struct, tag="scores", frozen=True):
    """Item scores of one model on one task, as they come; `key` is the cache's full key.

    `step` tells the checks of one job apart; None where a job has one check, and for a base that all share.
    """

    model: str  # "base" or "tuned"
    key: str
    task: str
    items: list[ItemScore]
    step: int | None = None


class Verdict(msgspec.Struct, tag="verdict", frozen=True):
    """The outcome of a check: the whole result as plain data (see core/check/telling/result.py)."""

    step: int | None
    result: dict[str, Any]


class Best(msgspec.Struct, tag="best", frozen=True):
    """Of a run's checkpoints, this is the one to keep; `text` says why."""

    step: int
    text: str


class Ended(msgspec.Struct, tag="ended", frozen=True):
    """The job's own last word. Without it the process was killed."""

    status: str  # "finished", "stopped", "failed"
    cause: str = ""
    hint: str = ""
    exit_code: int = 0
    kind: str = ""  # of a failure: see Kind in core/run.py; of a stop: "asked" where a signal asked for it


Event = (
    Started
    | Phase
    | Planned
    | DataRead
    | FirstRow
    | Metrics
    | Sample
    | Checkpoint
    | Resumed
    | Alarm
    | Scores
    | Verdict
    | Best
    | Ended
)


class Line(msgspec.Struct, frozen=True):
    n: int
    t: float
    e: Event


_decoder = msgspec.json.Decoder(Line)


def decode(line: bytes) -> Line:
    """Read one line. Raises msgspec.DecodeError (ValidationError for an unknown type or field type)."""
    return _decoder.decode(line)


class EventLog:
    """Append-only writer: each event is one write() of one whole line, so a reader never waits for a flush.

    A line that was cut short by a crash gets its newline before the next is written. `write` raises nothing on
    a full disk: it keeps count in `lost`, so that logging never kills training; `sync` makes it durable.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()
        self._number = self._resume()
        self.lost = 0
        self._torn = False  # the last line was cut by a full disk
        self._turn = threading.Lock()  # what goes on beside the work tells its events, too

    def _resume(self) -> int:
        size = os.fstat(self._file).st_size
        if not size:
            return 0
        tail = os.pread(self._file, min(size, 1 << 20), max(0, size - (1 << 20)))
        if not tail.endswith(b"\n"):
            os.write(self._file, b"\n")
        for line in reversed(tail.splitlines()):
            try:
                return decode(line).n
            except msgspec.DecodeError:
                continue
        return 0

    def write(self, event: Event) -> None:
        with self._turn:
            self._write(event)

    def _write(self, event: Event) -> None:
        self._number += 1
        self._encoder.encode_into(Line(self._number, time.time(), event), self._buffer)
        self._buffer += b"\n"
        if self._torn:
            self._buffer[:0] = b"\n"
        try:
            written = os.write(self._file, self._buffer)
        except OSError:
            written = 0
        if written < len(self._buffer):
            self.lost += 1
            self._torn = self._torn or written > 0
        else:
            self._torn = False

    def sync(self) -> None:
        """Wait until the lines are on the disk: after a checkpoint and at the end."""
        try:
            os.fsync(self._file)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        os.close(self._file)


def metrics(step: int, values: Mapping[str, float]) -> Metrics:
    """Build a Metrics event, with values that are not finite moved to `bad`."""
    bad = {key: str(float(value)) for key, value in values.items() if not math.isfinite(value)}
    if not bad:
        return Metrics(step, dict(values))
    return Metrics(step, {k: None if k in bad else v for k, v in values.items()}, bad)
