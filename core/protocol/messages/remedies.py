"""Remedies for a model that forgot: what can be had without training, what was tried, and trying it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from finetop.core.protocol.messages.limits import Whole
from finetop.core.protocol.request import Order, Question
from finetop.core.protocol.runs import Queued, RemedyRow, Running, State


class RetrainingRow(msgspec.Struct, frozen=True):
    """A run that would train again otherwise; `settings` of its recipe change."""

    name: str
    label: str
    settings: dict[str, Any]
    why_not: str = ""
    price_s: float | None = None  # what the run took


class RemediesAnswer(msgspec.Struct, frozen=True):
    run: str
    step: int
    metric: str  # the target's first, which is shown first; "" without a target
    base: dict[str, float]  # metric -> what the base reaches, as far as that is known
    margin: float  # points
    now: (
        RemedyRow | None
    )  # the checkpoint itself, on the items for choosing or else as its newest check has it
    rows: list[RemedyRow]  # without training, in their order
    retrainings: list[RetrainingRow]
    best: str = ""  # the confirmed one's name, else the best so far's
    job: State | None = None  # of the newest job that tries any
    job_id: int | None = None
    trying: list[str] = []  # what that job tries
    price_s: float | None = (
        None  # of trying one, as measured (core/remedies/_price.py); None where nothing was
    )
    confirming_s: float = 0.0  # of confirming the best
    now_by: Literal["check", "choosing"] = "check"  # which of the two `now` is

    @property
    def is_under_way(self) -> bool:
        """Whether some are being tried, or wait for it."""
        return isinstance(self.job, Queued | Running)


class Remedies(Question[RemediesAnswer], tag="remedies", frozen=True):
    """What can be done about a run's checkpoint (None: the best it kept, else the newest), and what was tried."""

    run: str
    step: Whole | None = None


class RemedyAnswer(msgspec.Struct, frozen=True):
    job_id: int
    run: str
    step: int
    names: list[str]


class Remedy(Order[RemedyAnswer], tag="remedy", frozen=True):
    """Queue the trying of remedies, ahead of queued training: those named, or all that can be had."""

    run: str
    step: Whole | None = None
    only: list[str] = []


class Candidate(msgspec.Struct, frozen=True):
    """One model that can be had without training, or why it can't be."""

    name: str
    remedy: str
    label: str
    step: int  # of the checkpoint that it is made of
    settings: dict[str, Any]
    why_not: str = ""
