"""The triage state of a regression: new, looked at, accepted, fixed."""

from __future__ import annotations

from typing import Literal

import msgspec

StandingState = Literal["new", "looking", "accepted", "fixed"]


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """The triage state of one regression: of a whole run, or of one of its tasks."""

    state: StandingState = "new"
    by: str = ""
    at: float = 0.0  # 0: now
    reason: str = ""  # why it is accepted
    note: str = ""
    fixed_by: str = ""  # the run that fixes it
    drop: float | None = None  # points lost when the state was set
