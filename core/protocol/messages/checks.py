"""Checks for forgetting: requests, results, and the items that flipped."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from finetop.core.protocol.check_result import Flip
from finetop.core.protocol.messages.limits import Whole
from finetop.core.protocol.request import Order, Question


class ChecksAnswer(msgspec.Struct, frozen=True):
    # each: {"check_id", "at", "step", "weights_now", **result}; see core/check/checked_weights.py
    checks: list[dict[str, Any]]


class Checks(Question[ChecksAnswer], tag="checks", frozen=True):
    """The full results of a run's checks, newest first."""

    run: str


class FlipsAnswer(msgspec.Struct, frozen=True):
    check_id: int
    flips: list[Flip]  # lost first


class Flips(Question[FlipsAnswer], tag="flips", frozen=True):
    run: str
    check_id: Whole | None = None  # None: the newest
    task: str = ""


class CheckAnswer(msgspec.Struct, frozen=True):
    job_id: int  # the job that makes it, or must end first; 0: it already exists
    run: str
    step: int
    # after: nothing was queued; once its job has ended, the same request can succeed
    stands: Literal["queued", "under_way", "made", "after"] = "queued"
    check_id: int | None = None  # of an existing one
    has_changed: bool = False  # the last such check was of other weights


class Check(Order[CheckAnswer], tag="check", frozen=True):
    """Queue a check of a run's checkpoint (None: its best, else the newest), ahead of queued training."""

    run: str
    step: Whole | None = None
    watch: bool = False  # claim nothing, unless this step's check already has a claim
    general: dict[str, Any] = {}  # settings of check.general for this check only: suite, margin, seed
    # continue after the verdict until every item of these tasks ([]: of all) is scored: the same claim, more items
    more: list[str] | None = None
    # don't queue another if this very check is under way, or already made; and none before the run's end if that will
    # be checked
    reuse: Literal["none", "under_way", "made"] = "none"
