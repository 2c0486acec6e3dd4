"""What a person wants of a run that is there, and the queue with its order."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from finetop.core.protocol.messages.limits import Done, Priority, Whole
from finetop.core.protocol.request import Order, Question
from finetop.core.protocol.runs import Queued, Running


class Stop(Order[Done], tag="stop", frozen=True):
    """Save a checkpoint, then exit. A queued run leaves the queue."""

    run: str


class Kill(Order[Done], tag="kill", frozen=True):
    """End the whole process tree at once."""

    run: str


class Pause(Order[Done], tag="pause", frozen=True):
    """Save a checkpoint, exit, and wait in the queue, held, to go on from it. A queued run is held."""

    run: str


class RetryAnswer(msgspec.Struct, frozen=True):
    run: str
    what: str  # train, check, export, import
    step: int  # 0: it begins anew
    place: int


class Retry(Order[RetryAnswer], tag="retry", frozen=True):
    """Queue once more what failed of a run: its training from the newest checkpoint, else its check, its export …

    A run that waits for its next try has it now.
    """

    run: str


class QueueRow(msgspec.Struct, frozen=True):
    run_id: int
    run: str
    what: str  # train, check, export, import
    step: int | None  # that it goes on from, or looks at
    method: str
    wants: str  # of the machine, in words
    priority: int  # the smaller starts first
    state: Queued
    do: str = ""  # what lets it go on, as a command
    host: str = ""  # where several machines are looked at
    starts_at: float | None = None  # about when, where that can be told
    after: str = ""  # the run whose end lets it start then


class LiveRow(msgspec.Struct, frozen=True):
    run_id: int
    run: str
    what: str  # train, check, export, import
    state: Running
    on: str = ""  # its GPUs in words, or the nodes of a cluster


class QueueAnswer(msgspec.Struct, frozen=True):
    rows: list[QueueRow]
    total: int
    running: list[str]  # what runs now, in words
    stopped: str = ""  # why nothing starts now: "the queue is held", "quiet until 07:00"
    live: list[LiveRow] = []  # what runs now


class Queue(Question[QueueAnswer], tag="queue", frozen=True):
    """What waits, first to start on top."""

    limit: Whole = 200


class Move(Order[Done], tag="move", frozen=True):
    """Put what waits of a run first in the queue, last, or before another run."""

    run: str
    to: Literal["first", "last", "before"]
    other: str = ""


class Hold(Order[Done], tag="hold", frozen=True):
    """Let a waiting run not start until it is released; without a run the whole queue."""

    makes_home: ClassVar[bool] = True

    run: str = ""


class Release(Order[Done], tag="release", frozen=True):
    """Let a held run, or the whole queue, go on."""

    run: str = ""


class Prioritise(Order[Done], tag="prioritise", frozen=True):
    """Give what waits of a run a priority; in it, it stands where it came."""

    run: str
    priority: Priority
