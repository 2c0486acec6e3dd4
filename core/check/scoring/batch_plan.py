"""What is scored, and how sequences are put together for the model: part of what a score means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Name = Literal["base", "tuned"]


VERSION = 2  # of what a score means; part of every cache key


@dataclass(frozen=True)
class BatchPlan:
    """How sequences are put together for the model, and how many tokens it reads at once.

    Plans that differ give scores that are not compared.
    """

    layout: Literal["packed", "plain"]
    row_tokens: int

    def halved(self) -> BatchPlan:
        """Give the plan to try after the memory ran out."""
        return BatchPlan(self.layout, self.row_tokens // 2)


@dataclass(frozen=True)
class Prompt:
    """What the model goes on from, and where it must stop."""

    tokens: tuple[int, ...]
    stop: tuple[str, ...]
    max_new_tokens: int
