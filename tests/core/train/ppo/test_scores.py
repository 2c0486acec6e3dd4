"""Normalized rewards, scaled by those of a rollout or by all so far."""

from __future__ import annotations

import statistics

import pytest

from finetop.core.train.ppo.advantages import RewardMoments, normalized, seen_more

REWARDS = [1.0, 4.0, -2.0, 0.5]


def test_rewards_seen_in_parts_are_those_seen_at_once() -> None:
    parts = seen_more(seen_more(RewardMoments(), REWARDS[:1]), REWARDS[1:])
    assert parts.count == 4
    assert parts.mean == pytest.approx(statistics.mean(REWARDS))
    assert parts.deviation == pytest.approx(statistics.pstdev(REWARDS))
    assert RewardMoments().deviation == 0.0


def test_rewards_are_scaled_as_asked() -> None:
    earlier = seen_more(RewardMoments(), [100.0, 102.0])
    assert normalized(REWARDS, "none", earlier, None) == REWARDS
    assert normalized(REWARDS, "none", earlier, 1.0) == [1.0, 1.0, -1.0, 0.5]
    batch = normalized(REWARDS, "batch", earlier, None)
    assert statistics.mean(batch) == pytest.approx(0.0)
    assert statistics.pstdev(batch) == pytest.approx(1.0)
    running = normalized([101.0, 103.0], "running", earlier, None)
    assert running == pytest.approx([0.0, 2.0])
    assert normalized([3.0, 3.0], "batch", earlier, None) == [0.0, 0.0]
