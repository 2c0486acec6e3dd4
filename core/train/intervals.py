"""When a measurement that does not train is due: at its interval, within its share of the training time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

LARGEST_SHARE = 0.05  # of the training time, per kind of measurement


@dataclass
class Ration:
    """Runs a costly measurement at its interval, or later if those so far took more than their share of time."""

    every: int
    spent_s: float = 0.0
    last_s: float = 0.0  # cost of the last one, which estimates the next
    is_due: bool = False
    began: float = field(default_factory=time.monotonic)

    def asks(self, step: int, now: float) -> bool:
        """Return whether to measure at this step; a measurement that would exceed the share stays due."""
        self.is_due = self.is_due or step % self.every == 0
        return self.is_due and self.spent_s + self.last_s <= LARGEST_SHARE * (now - self.began)

    def took(self, seconds: float) -> None:
        """Record a measurement and its cost."""
        self.spent_s += seconds
        self.last_s = seconds
        self.is_due = False
