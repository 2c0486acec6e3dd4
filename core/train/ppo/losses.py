"""The losses of PPO, as sums over the tokens of answers. Tensors are [answers, tokens]; mask is 1 on the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finetop.core.train.ppo.policy import AnswerReading

if TYPE_CHECKING:
    from finetop.core.train.ppo.options import Options
    from finetop.core.train.ppo.rollouts import Batch


def policy_loss(
    logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    """Return the clipped objective, negated (arXiv:1707.06347, equation 7), and how many tokens were clipped.

    ratio = exp(log p - log p_old); -min(ratio A, clamp(ratio, 1 - clip, 1 + clip) A), summed over tokens.
    """
    ratio = torch.exp((logprobs - old) * mask)
    plain, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)
    total = (torch.maximum(plain, clipped) * mask).sum()
    return total, ((clipped > plain) * mask).sum()


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float | None) -> Tensor:
    """Return half the squared error of the values, summed; a value may move by `clip` from its old one.

    The larger of the clipped and unclipped error counts, so that moving further never pays.
    """
    error = (values - returns) ** 2
    if clip is not None:
        held = old + (values - old).clamp(-clip, clip)
        error = torch.maximum(error, (held - returns) ** 2)
    return 0.5 * (error * mask).sum()


def divergence(logprobs: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """Estimate KL(old || new) of each answer, in nats: (ratio - 1) - log ratio, summed; never below 0 -> [answers]."""
    moved = (logprobs - old) * mask
    return (torch.expm1(moved) - moved).sum(1)


def batch_loss(
    reading: AnswerReading, values: Tensor, batch: Batch, settings: Options
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of a batch, summed over its tokens, and its metrics as tensors, without waiting for the GPU."""
    mask = batch.mask
    policy, clipped = policy_loss(reading.logprobs, batch.logprobs, batch.advantages, mask, settings.clip)
    value = value_loss(values, batch.values, batch.returns, mask, settings.value_clip)
    entropy = (reading.entropy * mask).sum()
    loss = policy + settings.value_weight * value
    if settings.entropy_weight:
        loss = loss - settings.entropy_weight * entropy
    moved = divergence(reading.logprobs.detach(), batch.logprobs, mask).sum()
    metrics = {
        "policy_loss": policy.detach(),
        "value_loss": value.detach(),
        "entropy": entropy.detach(),
        "clip_fraction": clipped.detach(),
        "step_kl": moved,
    }
    return loss, metrics
