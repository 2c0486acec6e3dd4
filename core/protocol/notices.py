"""Notices about a run or the whole home: the kinds, and one notice as plain data."""

from __future__ import annotations

import msgspec

from finetop.core.plugins import ALARMS

ENDINGS = {
    "failed": "a run, a check or an export failed",
    "lost": "its process died or the machine restarted",
    "hung": "a run has stopped reporting",
    "regressed": "a check proved that it forgot",
    "finished": "a run finished",
    "stopped": "a run was stopped or killed",
}
OTHERS = {
    "check": "a check during training failed, or left no OK checkpoint",
    "suite": "the data of a suite can't be fetched",
    "over": "an alarm is over",
}
TEST = "test"
MANY = "many"  # of several kinds, combined
BY_DEFAULT = ("alarms", "check", "suite", "failed", "lost", "hung", "regressed")  # kinds that need attention


def kinds() -> dict[str, str]:
    """Return all kinds of notices with a description each: alarms first."""
    return {name: ALARMS.load(name).about for name in ALARMS.names()} | OTHERS | ENDINGS


def needs_a_person(kind: str) -> bool:
    """Return True if a kind needs attention: an alarm or a failure, but not that a run has finished."""
    return kind in BY_DEFAULT or kind in ALARMS.names()


class Notice(msgspec.Struct, frozen=True):
    """Something that happened. Ids grow for ever in a home, even through a rebuild."""

    id: int
    run_id: int  # 0: the whole home
    run: str  # its name
    kind: str
    step: int | None
    text: str
    at: float


class Way(msgspec.Struct, frozen=True):
    """Delivery statistics of a command or a webhook."""

    way: str
    waiting: int = 0
    sent: int = 0
    given_up: int = 0
    why: str = ""  # why the last one was given up
