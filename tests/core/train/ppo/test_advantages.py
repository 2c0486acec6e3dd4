"""Rewards, advantages and returns, compared with sums written out by hand."""

import math
import statistics

import pytest
import torch

from finetop.core.train.ppo import advantages

REWARDS = [1.0, 4.0, -2.0, 0.5]
LENGTHS = [1, 4, 6]
MASK = torch.tensor([[1.0] * n + [0.0] * (6 - n) for n in LENGTHS], dtype=torch.float64)


def drawn(seed):
    return torch.randn(3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_score_comes_at_the_last_token_and_divergence_costs_at_each():
    scores = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    new, old = drawn(1), drawn(2)
    found = advantages.token_rewards(scores, new, old, MASK, 0.3)
    for row, length in enumerate(LENGTHS):
        for token in range(6):
            wanted = -0.3 * float(new[row, token] - old[row, token]) if token < length else 0.0
            wanted += float(scores[row]) if token == length - 1 else 0.0
            assert float(found[row, token]) == pytest.approx(wanted)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (1.0, 0.0)])
def test_advantages_are_the_sum_of_discounted_surprises(gamma, lam):
    rewards, values = drawn(3) * MASK, drawn(4)  # values after an answer are noise, and must not count
    found, returns = advantages.estimate(rewards, values, MASK, gamma, lam)
    for row, length in enumerate(LENGTHS):
        v = [*values[row, :length].tolist(), 0.0]
        delta = [float(rewards[row, t]) + gamma * v[t + 1] - v[t] for t in range(length)]
        for token in range(6):
            wanted = sum((gamma * lam) ** (t - token) * delta[t] for t in range(token, length))
            assert float(found[row, token]) == pytest.approx(wanted, abs=1e-12)
            whole = wanted + v[token] if token < length else 0.0
            assert float(returns[row, token]) == pytest.approx(whole, abs=1e-12)


def test_without_discount_returns_are_what_is_yet_to_come():
    rewards, values = drawn(5) * MASK, drawn(6)
    _, returns = advantages.estimate(rewards, values, MASK, 1.0, 1.0)
    assert torch.allclose(returns, rewards.flip(1).cumsum(1).flip(1) * MASK)


def test_whitened_numbers_have_mean_0_and_variance_1_over_answers_alone():
    numbers = drawn(7) * 5 + 3
    numbers[0, 1:] = 1e6
    found = advantages.whiten(numbers, MASK)[MASK.bool()]
    assert float(found.mean()) == pytest.approx(0.0, abs=1e-9)
    assert float(found.var(correction=0)) == pytest.approx(1.0, abs=1e-6)
    assert torch.equal(found.argsort(), numbers[MASK.bool()].argsort())


def test_explained_variance():
    returns = drawn(8)
    assert advantages.explained_variance(returns + 7, returns, MASK) == pytest.approx(1.0)
    assert advantages.explained_variance(torch.zeros_like(returns), returns, MASK) == pytest.approx(0.0)
    assert advantages.explained_variance(-returns, returns, MASK) == pytest.approx(-3.0)
    assert advantages.explained_variance(returns, torch.ones_like(returns), MASK) == 0.0
    assert math.isfinite(advantages.explained_variance(returns, returns * 1e-30, MASK))


def test_the_coefficient_moves_by_the_relative_error_at_most_a_fifth_in_a_horizon():
    assert advantages.next_coefficient(0.05, 99.0, None, 100, 100) == 0.05, "without a target it stays"
    for kl, factor in ((6.0, 1.0), (6.6, 1.01), (60.0, 1.02), (5.4, 0.99), (0.0, 0.98), (-3.0, 0.98)):
        assert advantages.next_coefficient(0.2, kl, 6.0, 1000, 100) == pytest.approx(0.2 * factor), kl


def test_the_coefficient_finds_a_coefficient_that_keeps_the_target():
    coefficient = 0.01
    for _ in range(600):  # a policy that moves further the less it costs
        coefficient = advantages.next_coefficient(coefficient, 1.0 / coefficient, 5.0, 1000, 200)
    assert 1.0 / coefficient == pytest.approx(5.0, rel=0.01)


def test_rewards_seen_in_parts_are_those_seen_at_once():
    parts = advantages.seen_more(advantages.seen_more(advantages.RewardMoments(), REWARDS[:1]), REWARDS[1:])
    assert parts.count == 4
    assert parts.mean == pytest.approx(statistics.mean(REWARDS))
    assert parts.deviation == pytest.approx(statistics.pstdev(REWARDS))
    assert advantages.RewardMoments().deviation == 0.0


def test_rewards_are_scaled_as_asked():
    earlier = advantages.seen_more(advantages.RewardMoments(), [100.0, 102.0])
    assert advantages.normalized(REWARDS, "none", earlier, None) == REWARDS
    assert advantages.normalized(REWARDS, "none", earlier, 1.0) == [1.0, 1.0, -1.0, 0.5]
    batch = advantages.normalized(REWARDS, "batch", earlier, None)
    assert statistics.mean(batch) == pytest.approx(0.0)
    assert statistics.pstdev(batch) == pytest.approx(1.0)
    running = advantages.normalized([101.0, 103.0], "running", earlier, None)
    assert running == pytest.approx([0.0, 2.0])
    assert advantages.normalized([3.0, 3.0], "batch", earlier, None) == [0.0, 0.0]
