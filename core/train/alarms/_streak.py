"""Consecutive bad steps: how many raise an alarm, and when it is over.

From the first step on, `least` of them. If good steps came before, an occasional bad one is part of the method: then
as many as chance would produce, at the rate so far, once in 100,000 steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

CHANCE = 1e-5
BACK = 3  # good steps that end the alarm


@dataclass
class Streak:
    """Counts consecutive bad steps, and the share of bad steps before them."""

    least: int
    length: int = 0
    seen: int = 0
    bad: int = 0
    good_since: int = 0
    is_on: bool = False

    def add(self, is_bad: bool) -> Literal["", "begins", "over"]:
        """Count a step; return whether it begins or ends an alarm."""
        if is_bad:
            self.length += 1
            if self.is_on or self.length < self.needed():
                return ""
            self.is_on, self.good_since = True, 0
            return "begins"
        self.seen, self.bad, self.length = self.seen + 1 + self.length, self.bad + self.length, 0
        self.good_since += 1
        if not self.is_on or self.good_since < BACK:
            return ""
        self.is_on = False
        return "over"

    def needed(self) -> int:
        """Return how many consecutive bad steps now raise an alarm."""
        if not self.seen:
            return self.least
        rate = (self.bad + 1) / (self.seen + 2)
        return max(self.least, math.ceil(math.log(CHANCE) / math.log(rate)))
