"""The session with the supervisor: greeting, changes, notices, shutdown."""

from __future__ import annotations

import msgspec

from finetop.core.protocol.messages.limits import Done, Large
from finetop.core.protocol.notices import Notice, Way
from finetop.core.protocol.request import Order, Question


class HelloAnswer(msgspec.Struct, frozen=True):
    version: str  # finetop's
    protocol: int
    pid: int
    home: str
    host: str
    started: float
    device: str  # "2 CPU cores", "4 GPUs": what jobs run on
    spare: str = ""  # the process that waits for the next job, in words
    cpu_ranks: int = 1  # ranks of a training without GPUs


class Hello(Question[HelloAnswer], tag="hello", frozen=True):
    pass


class ChangesAnswer(msgspec.Struct, frozen=True):
    revision: int
    trouble: str = ""  # what is wrong with the supervisor or its machine: "disk full"
    noticed: int = 0  # id of the newest notice
    queued: int = 0  # waiting jobs
    to_triage: int = 0  # regressed runs not yet triaged
    jobs: dict[str, int] = {}  # running jobs, by verb
    gpus: int = 0  # of this machine
    gpus_taken: int = 0  # by our jobs


class Changes(Question[ChangesAnswer], tag="changes", frozen=True):
    """Wait until the store, or what it holds of one run, is newer than `since`, or for `timeout_s`."""

    since: Large
    timeout_s: float = 20.0
    run: str = ""  # name or number; empty: any run


class NoticesAnswer(msgspec.Struct, frozen=True):
    notices: list[Notice]  # newest first
    on: list[str] = []  # kinds requested in settings.yaml
    ways: list[Way] = []  # the configured ones, and those used before


class Notices(Question[NoticesAnswer], tag="notices", frozen=True):
    """Notices with an id above `after`."""

    after: int = 0
    limit: int = 50


class Tested(msgspec.Struct, frozen=True):
    way: str
    is_through: bool
    output: str = msgspec.field(name="said")  # of the command or the server
    seconds: float


class SendTestAnswer(msgspec.Struct, frozen=True):
    tested: list[Tested]


class SendTest(Order[SendTestAnswer], tag="send-test", frozen=True):
    """Send a test message by every configured way, and wait for the results."""


class Shutdown(Order[Done], tag="shutdown", frozen=True):
    """End the supervisor. Jobs go on; the next client starts another that adopts them."""
