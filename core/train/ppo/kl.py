"""What a nat of divergence from the reference costs: the same all along, or what keeps the divergence at a target."""

from __future__ import annotations


def adapted(coefficient: float, kl: float, target: float | None, horizon: int, answers: int) -> float:
    """Give the coefficient of the next rollout (Ziegler et al. 2019, arXiv:1909.08593, section 2.2).

    kl and target in nats per answer. It grows by at most a fifth per `horizon` answers where the divergence is above
    its target, and shrinks as slowly where it is below. Without a target it stays.
    """
    if target is None:
        return coefficient
    error = min(0.2, max(-0.2, kl / target - 1))
    return coefficient * (1 + error * answers / horizon)
