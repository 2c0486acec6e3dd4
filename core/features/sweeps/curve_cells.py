"""A cell of a selection curve: what the seeds of one selector reached at one number of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Against = Literal["", "better", "worse", "open", "same rows"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds, with its 95 % interval; a single seed has none."""

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def is_known(self) -> bool:
        """Return True if zero is outside the interval."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Cell:
    """All seeds of one selector at one number of rows."""

    by: str
    rows: int
    runs: int
    finished: int
    target: Estimate | None
    retained: Estimate | None  # points of 100, against the base
    difference: Estimate | None = None  # of the target, from random rows, paired by seed
    against: Against = ""
