"""What an answer's reward counts for: as it is, or moved and scaled to mean 0 and deviation 1, perhaps cut off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.train.ppo.options import Normalize


@dataclass(frozen=True, slots=True)
class RewardMoments:
    """Rewards that were seen so far: how many, their mean, and their squared deviations from it, added up."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def deviation(self) -> float:
        return math.sqrt(self.squares / self.count) if self.count else 0.0


def seen_more(seen: RewardMoments, rewards: Sequence[float]) -> RewardMoments:
    """Add rewards to those that were seen (Welford's way, which loses no digits)."""
    count, mean, squares = seen.count, seen.mean, seen.squares
    for reward in rewards:
        count += 1
        step = reward - mean
        mean += step / count
        squares += step * (reward - mean)
    return RewardMoments(count, mean, squares)


def normalized(
    rewards: Sequence[float], how: Normalize, seen: RewardMoments, limit: float | None
) -> list[float]:
    """Return what rewards count for. `seen` are all so far, these included; `limit` cuts off at +-limit."""
    of = seen_more(RewardMoments(), rewards) if how == "batch" else seen
    scores = list(rewards) if how == "none" else [(one - of.mean) / (of.deviation + 1e-8) for one in rewards]
    return scores if limit is None else [min(limit, max(-limit, score)) for score in scores]
