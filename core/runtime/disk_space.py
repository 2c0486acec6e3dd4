"""Whether a disk is almost full: one rule for a run's alarm and for the supervisor's home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from finetop.core.wording.units import gib_of

SHARE = 0.05  # of the disk that should be free
MOST = 10 << 30  # bytes: 5 % of 8 TB would be far more than needed
BACK = 1.2  # times the limit: with more free, the alarm is over


@dataclass
class DiskSpace:
    """Whether a disk is almost full, as of the last call."""

    is_low: bool = False

    def change(self, free: float, total: float, need: float) -> Literal["low", "enough"] | None:
        """Return what changed since the last call. All in bytes; `need` is what the next checkpoints take."""
        limit = max(min(SHARE * total, MOST), need)
        if not self.is_low and free < limit:
            self.is_low = True
            return "low"
        if self.is_low and free > BACK * limit:
            self.is_low = False
            return "enough"
        return None


def change_text(change: Literal["low", "enough"], free: float, need: float) -> str:
    """Describe a change, with what is free and what is needed, if more."""
    if change == "enough":
        return f"the disk has room again: {gib_of(free)} GiB free"
    needed = f", the next save needs {gib_of(need)}" if need > free else ""
    return f"disk almost full: {gib_of(free)} GiB free{needed}"
