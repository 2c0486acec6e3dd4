"""Remedies for a model that forgot: what is possible without training, results, and trying them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from finetop.core.errors import BadInput
from finetop.core.protocol.messages.limits import Whole
from finetop.core.protocol.request import Order, Question
from finetop.core.protocol.runs import Now, Queued, RemedyRow, Running, State


class RetrainingRow(msgspec.Struct, frozen=True):
    """A new training run with changed `settings`."""

    name: str
    label: str
    settings: dict[str, Any]
    why_not: str = ""
    price_s: float | None = None  # what the original run took


class RemediesAnswer(msgspec.Struct, frozen=True):
    run: str
    step: int
    metric: str  # the target's first, shown first; "" without a target
    base: dict[str, float]  # metric -> score of the base, if known
    margin: float  # points
    now: RemedyRow | None  # the checkpoint itself, on the selection items or as its newest check scored it
    rows: list[RemedyRow]  # without training, in order
    retrainings: list[RetrainingRow]
    best: str = ""  # name of the confirmed one, else of the best so far
    job: State | None = None  # of the newest job that tries remedies
    job_id: int | None = None
    trying: list[str] = []  # what that job tries
    price_s: float | None = None  # of trying one, as measured (price.py); None if none was tried
    confirming_s: float = 0.0  # of confirming the best
    now_by: Literal["check", "choosing"] = "check"  # the source of `now`
    weights_now: Now = "same"  # of the checkpoint's newest check; unless same, that counts as none

    @property
    def is_under_way(self) -> bool:
        """Whether remedies are being tried, or wait to be."""
        return isinstance(self.job, Queued | Running)


class Remedies(Question[RemediesAnswer], tag="remedies", frozen=True):
    """The remedies for a run's checkpoint (None: its best, else the newest), and their results."""

    run: str
    step: Whole | None = None


class RemedyAnswer(msgspec.Struct, frozen=True):
    job_id: int
    run: str
    step: int
    names: list[str]


class Remedy(Order[RemedyAnswer], tag="remedy", frozen=True):
    """Queue a job that tries remedies, ahead of queued training: the named ones, or all available ones."""

    run: str
    step: Whole | None = None
    only: list[str] = []


class Candidate(msgspec.Struct, frozen=True):
    """One model that can be made without training, or why it can't."""

    name: str
    remedy: str
    label: str
    step: int  # of the checkpoint it is made of
    settings: dict[str, Any]
    why_not: str = ""


def candidate_of(facts: dict[str, Any]) -> Candidate:
    """Parse one candidate of a remedy from job.json. Raises BadInput."""
    try:
        own = {key: facts[key] for key in ("name", "remedy", "label", "step", "settings")}
        return msgspec.convert(own, Candidate)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise BadInput(f"job.json: a candidate can't be read ({error}).") from error
