"""When a look that only watches is due: on its pace, within its share of the training time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

LARGEST_SHARE = 0.05  # of the training time, for everything that only watches


@dataclass
class Ration:
    """Lets a costly look happen on its pace, or later where looks so far took more than their share of time."""

    every: int
    spent_s: float = 0.0
    last_s: float = 0.0  # what the last look took, and so about what the next will
    is_due: bool = False
    began: float = field(default_factory=time.monotonic)

    def asks(self, step: int, now: float) -> bool:
        """Return whether to look at this step; a look that can't be afforded yet stays due."""
        self.is_due = self.is_due or step % self.every == 0
        return self.is_due and self.spent_s + self.last_s <= LARGEST_SHARE * (now - self.began)

    def took(self, seconds: float) -> None:
        """Record a look and its cost."""
        self.spent_s += seconds
        self.last_s = seconds
        self.is_due = False
