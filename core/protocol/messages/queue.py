"""Requests for existing runs, and the queue with its order."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from finetop.core.protocol.messages.limits import Done, Priority, Whole
from finetop.core.protocol.request import Order, Question
from finetop.core.protocol.runs import Queued, Running, Tried, Verb


class Stop(Order[Done], tag="stop", frozen=True):
    """Save a checkpoint, then exit. A queued run leaves the queue."""

    run: str


class Kill(Order[Done], tag="kill", frozen=True):
    """End the whole process tree at once."""

    run: str


class Pause(Order[Done], tag="pause", frozen=True):
    """Save a checkpoint, exit, and wait in the queue, held, to resume from it. A queued run is held."""

    run: str


class RetryAnswer(msgspec.Struct, frozen=True):
    run: str
    what: str  # train, check, export, import
    step: int  # 0: it starts over
    place: int


class Retry(Order[RetryAnswer], tag="retry", frozen=True):
    """Queue a run's failed job again, training from the newest checkpoint; one that waits for its next try starts."""

    run: str


class QueueRow(msgspec.Struct, frozen=True):
    run_id: int
    run: str
    what: Verb
    step: int | None  # that it resumes from, or checks
    method: str
    wants: str  # its needs, in words
    priority: int  # smaller starts first
    state: Queued
    do: str = ""  # the command that lets it continue
    host: str = ""  # if several machines are shown
    starts_at: float | None = None  # estimate, if available
    after: str = ""  # the run whose end lets it start


class LiveRow(msgspec.Struct, frozen=True):
    run_id: int
    run: str
    what: Verb
    state: Running
    on: str = ""  # its GPUs in words, or the nodes of a cluster
    tried: Tried | None = None  # of remedies


class QueueAnswer(msgspec.Struct, frozen=True):
    rows: list[QueueRow]
    total: int
    running: list[str]  # running jobs, in words
    stopped: str = ""  # why nothing starts now: "the queue is held", "quiet until 07:00"
    live: list[LiveRow] = []  # running jobs


class Queue(Question[QueueAnswer], tag="queue", frozen=True):
    """The waiting jobs, first to start on top."""

    limit: Whole = 200


class Move(Order[Done], tag="move", frozen=True):
    """Move a run's waiting jobs first in the queue, last, or before another run."""

    run: str
    to: Literal["first", "last", "before"]
    other: str = ""


class Hold(Order[Done], tag="hold", frozen=True):
    """Keep a waiting run from starting until it is released; without a run, the whole queue."""

    makes_home: ClassVar[bool] = True

    run: str = ""


class Release(Order[Done], tag="release", frozen=True):
    """Release a held run, or the whole queue."""

    run: str = ""


class Prioritise(Order[Done], tag="prioritise", frozen=True):
    """Set the priority of a run's waiting jobs; their place there is by arrival."""

    run: str
    priority: Priority
