"""Each token's reward, and its advantage over the expected value. Tensors are [answers, tokens].

`mask` is 1 on the tokens of an answer, its end included, and 0 after it; answers begin at the first column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from finetop.core.train.ppo.options import Normalize


def token_rewards(
    scores: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, coefficient: float
) -> Tensor:
    """Return each token's reward: its divergence from the reference as a cost, plus the answer's score at the last one.

    scores [answers]; logprobs and reference [answers, tokens], in nats -> [answers, tokens], 0 after an answer.
    """
    rewards = -coefficient * (logprobs - reference) * mask
    last = mask.sum(1).long() - 1
    rewards[torch.arange(len(scores), device=scores.device), last] += scores
    return rewards


def next_coefficient(
    coefficient: float, kl: float, target: float | None, horizon: int, answers: int
) -> float:
    """Return what a nat of divergence costs in the next rollout (arXiv:1909.08593, section 2.2).

    kl and target in nats per answer. The cost grows by at most a fifth per `horizon` answers if the divergence is above
    its target, and shrinks as slowly if it is below. Without a target it stays.
    """
    if target is None:
        return coefficient
    error = min(0.2, max(-0.2, kl / target - 1))
    return coefficient * (1 + error * answers / horizon)


def estimate(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Estimate advantages and returns by generalised advantage estimation (arXiv:1506.02438, equation 16).

    delta_t = r_t + gamma V_t+1 - V_t and A_t = delta_t + gamma lambda A_t+1; after the last token both are 0.
    Returns, the targets of the values, are A_t + V_t.
    """
    values = values * mask
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    after = torch.zeros_like(rewards[:, 0])  # the value of the next token
    for token in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, token] + gamma * after - values[:, token]
        following = (delta + gamma * lam * following) * mask[:, token]
        after = values[:, token]
        advantages[:, token] = following
    return advantages, (advantages + values) * mask


def masked_mean(numbers: Tensor, mask: Tensor) -> Tensor:
    """Average over the tokens of the answers."""
    return (numbers * mask).sum() / mask.sum()


def whiten(numbers: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale numbers to mean 0 and variance 1 over the tokens of the answers; 0 after them."""
    mean = masked_mean(numbers, mask)
    variance = masked_mean((numbers - mean) ** 2, mask)
    return (numbers - mean) * torch.rsqrt(variance + 1e-8) * mask


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return the share of the returns' variance that the values explain: 1 all, 0 none, below 0 worse than the mean."""
    error = returns - values
    left = masked_mean((error - masked_mean(error, mask)) ** 2, mask)
    whole = masked_mean((returns - masked_mean(returns, mask)) ** 2, mask)
    return float(1 - left / whole) if float(whole) > 0 else 0.0


@dataclass(frozen=True, slots=True)
class RewardMoments:
    """Statistics of the rewards so far: their number, mean, and sum of squared deviations from it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def deviation(self) -> float:
        return math.sqrt(self.squares / self.count) if self.count else 0.0


def seen_more(seen: RewardMoments, rewards: Sequence[float]) -> RewardMoments:
    """Add rewards to the statistics (Welford's algorithm, which is numerically stable)."""
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
    """Return the normalized rewards. `seen` covers all so far, these included; `limit` clips to +-limit."""
    of = seen_more(RewardMoments(), rewards) if how == "batch" else seen
    scores = list(rewards) if how == "none" else [(r - of.mean) / (of.deviation + 1e-8) for r in rewards]
    return scores if limit is None else [min(limit, max(-limit, score)) for score in scores]
