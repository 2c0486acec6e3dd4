"""Checks for forgetting: asked for, their results, and the items that flipped."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from finetop.core.protocol.check_result import Flip
from finetop.core.protocol.messages.limits import Whole
from finetop.core.protocol.request import Order, Question


class ChecksAnswer(msgspec.Struct, frozen=True):
    checks: list[dict[str, Any]]  # each: {"check_id", "at", "step", **result}


class Checks(Question[ChecksAnswer], tag="checks", frozen=True):
    """The whole results of a run's checks, newest first."""

    run: str


class FlipsAnswer(msgspec.Struct, frozen=True):
    check_id: int
    flips: list[Flip]  # lost first


class Flips(Question[FlipsAnswer], tag="flips", frozen=True):
    run: str
    check_id: Whole | None = None  # None: the newest
    task: str = ""


class CheckAnswer(msgspec.Struct, frozen=True):
    job_id: int  # that makes it, or must end first; 0: it was made before
    run: str
    step: int
    # after: nothing was queued; once its job has ended, the same request can be met
    stands: Literal["queued", "under_way", "made", "after"] = "queued"
    check_id: int | None = None  # of one that was made


class Check(Order[CheckAnswer], tag="check", frozen=True):
    """Queue a check of a run's checkpoint (None: the best it kept, else the newest), ahead of queued training."""

    run: str
    step: Whole | None = None
    watch: bool = False  # a look that claims nothing, unless this step's check has a claim already
    general: dict[str, Any] = {}  # settings of check.general for this check alone: suite, margin, seed
    # go on once it is decided, until every item of these tasks was asked ([]: of all): the same claim, on more
    more: list[str] | None = None
    # queue no other where this very check is under way, or was made; and none before the run has ended, where its
    # end is checked
    reuse: Literal["none", "under_way", "made"] = "none"
