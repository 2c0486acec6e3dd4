"""Who answers, what has changed and happened, and the end of it."""

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
    cpu_ranks: int = 1  # processes of a training without a GPU


class Hello(Question[HelloAnswer], tag="hello", frozen=True):
    pass


class ChangesAnswer(msgspec.Struct, frozen=True):
    revision: int
    trouble: str = ""  # what is wrong with the whole: "disk full", in words
    noticed: int = 0  # number of the newest notice
    queued: int = 0  # jobs that wait
    to_triage: int = 0  # runs whose regression nobody has looked at
    jobs: dict[str, int] = {}  # that run, by their verbs
    gpus: int = 0  # of the machine itself
    gpus_taken: int = 0  # by jobs of ours


class Changes(Question[ChangesAnswer], tag="changes", frozen=True):
    """Wait until the store is newer than `since`, or what it says of one run, or for `timeout_s`."""

    since: Large
    timeout_s: float = 20.0
    run: str = ""  # name or number; without it, of all


class NoticesAnswer(msgspec.Struct, frozen=True):
    notices: list[Notice]  # the newest first
    on: list[str] = []  # the kinds that settings.yaml asks for
    ways: list[Way] = []  # those that it asks for, and those that messages went before


class Notices(Question[NoticesAnswer], tag="notices", frozen=True):
    """What has happened that a person may want to hear of, newer than a number."""

    after: int = 0
    limit: int = 50


class Tested(msgspec.Struct, frozen=True):
    way: str
    is_through: bool
    said: str  # by the command or the server
    seconds: float


class SendTestAnswer(msgspec.Struct, frozen=True):
    tested: list[Tested]


class SendTest(Order[SendTestAnswer], tag="send-test", frozen=True):
    """Send a test message by every way that settings.yaml names, and wait for what comes of it."""


class Shutdown(Order[Done], tag="shutdown", frozen=True):
    """End the supervisor. Jobs go on; the next client starts another that adopts them."""
