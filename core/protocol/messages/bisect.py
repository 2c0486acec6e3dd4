"""Since which checkpoint a run has regressed: what it takes to tell, and the next check for it."""

from __future__ import annotations

import msgspec

from finetop.core.protocol.messages.limits import Whole
from finetop.core.protocol.request import Order, Question


class EarlierAnswer(msgspec.Struct, frozen=True):
    run: str
    unseen: int  # checkpoints on disk that were not checked
    most: int  # most checks still needed; 0: nothing more can be found out
    text: str  # the result so far, in a sentence
    look_s: float | None = None  # seconds of the last check; None if unknown


class Earlier(Question[EarlierAnswer], tag="earlier", frozen=True):
    """What it takes to tell since which checkpoint a run has regressed: see check/bisect.py."""

    run: str


class LookEarlierAnswer(msgspec.Struct, frozen=True):
    run: str
    step: Whole | None  # None: no further check is needed
    message: str


class LookEarlier(Order[LookEarlierAnswer], tag="look-earlier", frozen=True):
    """Queue the check that halves the remaining range of checkpoints in which a run regressed."""

    run: str
    on: bool = False  # continue with the next ones until it is known
