"""Simulated logs of training runs: healthy ones, heavy tails included, and faults planted into them.

A log is one array per value: loss, grad_norm, learning_rate, step_s, tokens (cumulative), and occasionally drift and
free_bytes (NaN where they were not measured). `healthy` draws a family's run, `with_fault` plants one into it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DISK = 500e9
CHECKPOINT = 3e9


@dataclass(frozen=True)
class Log:
    """One run: `values` by name, one entry per step; `fault_at` is the step at which a fault begins."""

    steps: int
    loss_falls: bool
    values: dict[str, Floats]
    fault_at: int | None = None


def _times(at: Floats, random: np.random.Generator, schedule: str) -> Floats:
    warm = random.choice([0.0, 0.03, 0.1])
    falls = {"cosine": (1 + np.cos(np.pi * at)) / 2, "linear": 1 - at, "constant": np.ones_like(at)}[schedule]
    return np.where(at < warm, at / max(warm, 1e-9), falls) * 10 ** random.uniform(-5.5, -3.5)


def _noise(steps: int, sigma: float, random: np.random.Generator) -> Floats:
    """Return the noise of batches in log loss: heavy tails, a few extremes, and a slow drift by a few per cent."""
    tails = random.standard_t(random.choice([3.0, 5.0, 30.0]), steps) * sigma
    wild = (random.random(steps) < 0.003) * random.exponential(1.0, steps)
    wander = np.zeros(steps)
    pull, step = 0.97, random.normal(0, 0.24 * min(0.2 * sigma, random.uniform(0, 0.03)), steps)
    for i in range(1, steps):
        wander[i] = pull * wander[i - 1] + step[i]
    return tails + wild + wander


def _around(log_loss: Floats, falls: bool, random: np.random.Generator, *, growth: float = 1.0) -> Log:
    """Return a log with the other values of a run, made to fit its losses."""
    steps = len(log_loss)
    at = np.arange(steps) / steps
    norm = np.exp(random.normal(0, random.uniform(0.1, 0.6), steps)) * 10 ** random.uniform(-1.5, 1.0)
    norm *= np.exp(-random.uniform(0, 3) * at) * np.where(
        random.random(steps) < 0.01, random.uniform(3, 60), 1
    )
    size = random.uniform(200, 20_000) * np.exp(random.normal(0, random.choice([0.05, 0.3, 0.8]), steps))
    size *= 1 + (growth - 1) * at
    per_token = 10 ** random.uniform(-5, -3)
    step_s = (size * per_token + random.uniform(0.01, 0.5)) * np.exp(random.normal(0, 0.08, steps))
    step_s[: random.integers(1, 5)] *= random.uniform(2, 40)  # compiles, allocates
    step_s *= np.where(random.random(steps) < 0.01, random.uniform(2, 30), 1)  # a neighbour, a collection
    drift = np.full(steps, np.nan)
    every = max(1, steps // 10)
    drift[every - 1 :: every] = (0.07 * np.sqrt(at) + random.normal(0, 0.004, steps))[every - 1 :: every]
    free = np.full(steps, np.nan)
    free[::10] = DISK * random.uniform(0.06, 0.9) - at[::10] * 2e9
    schedule = random.choice(["cosine", "linear", "constant"])
    return Log(
        steps,
        falls,
        {
            "loss": np.exp(log_loss) if falls else log_loss,
            "grad_norm": norm,
            "learning_rate": _times(at, random, schedule),
            "step_s": step_s,
            "tokens": np.cumsum(size),
            "drift": drift,
            "free_bytes": free,
        },
    )


def sft(random: np.random.Generator) -> Log:
    """Supervised answers: a quick fall, then a slow one; batches of a few rows."""
    steps = int(10 ** random.uniform(1.8, 3.6))
    at = np.arange(steps) / steps
    fall = random.uniform(0.3, 1.2) * np.exp(-at / random.uniform(0.02, 0.3)) - random.uniform(0.05, 0.3) * at
    return _around(
        np.log(random.uniform(0.5, 2.0)) + fall + _noise(steps, random.uniform(0.03, 0.35), random),
        True,
        random,
    )


def epochs(random: np.random.Generator) -> Log:
    """Memorised answers: the loss falls at the start of each epoch, down to nearly nothing."""
    steps, times = int(10 ** random.uniform(2.0, 3.5)), random.integers(3, 8)
    epoch = np.floor(np.arange(steps) / steps * times)
    return _around(
        0.4 - random.uniform(0.2, 0.9) * epoch + _noise(steps, random.uniform(0.1, 0.5), random), True, random
    )


def pretrain(random: np.random.Generator) -> Log:
    """From scratch: a power law from uniform guessing over all words, long and calm."""
    steps = int(10 ** random.uniform(3.3, 4.2))
    at = np.arange(1, steps + 1)
    left = random.uniform(4, 9) * at ** -random.uniform(0.15, 0.4)
    return _around(
        np.log(random.uniform(1.5, 2.5) + left) + _noise(steps, random.uniform(0.01, 0.05), random),
        True,
        random,
    )


def single_rows(random: np.random.Generator) -> Log:
    """One row per batch, of any length."""
    steps = int(10 ** random.uniform(2.5, 3.7))
    at = np.arange(steps) / steps
    return _around(
        0.3 - random.uniform(0.1, 0.6) * at + _noise(steps, random.uniform(0.4, 0.8), random), True, random
    )


def preferences(random: np.random.Generator) -> Log:
    """DPO, KTO, reward models: from log 2 to small and skewed; some pairs are never learned."""
    steps, rows = int(10 ** random.uniform(2.0, 3.5)), int(random.choice([2, 4, 8, 16]))
    at = np.arange(steps)[:, None] / steps
    margins = random.normal(0, 0.2 + random.uniform(0.5, 4) * at, (steps, rows)) + random.uniform(0.5, 6) * at
    loss = np.logaddexp(0, -margins).mean(1)
    return _around(np.log(loss), True, random)


def paid(random: np.random.Generator) -> Log:
    """PPO, RLOO, GRPO: a loss near 0, some steps without a gradient, answers that grow longer."""
    steps = int(10 ** random.uniform(2.0, 3.3))
    log = _around(
        random.standard_t(3, steps) * random.uniform(1e-4, 0.3), False, random, growth=random.uniform(0.5, 5)
    )
    empty = random.random(steps) < random.uniform(0, 0.4)
    values = {**log.values, "grad_norm": np.where(empty, 0.0, log.values["grad_norm"])}
    return replace(log, values=values | _rewards(steps, random))


def _rewards(steps: int, random: np.random.Generator) -> dict[str, Floats]:
    """Return the rewards of answers, right or wrong: 8 to each of 2 to 8 prompts, some easier; rising over time."""
    prompts, at = int(random.choice([2, 4, 8])), np.arange(steps)[:, None] / steps
    mean = random.uniform(0.1, 0.6) + random.uniform(0, 0.3) * at
    even = random.uniform(2, 20)
    chance = random.beta(mean * even, (1 - mean) * even, (steps, prompts))
    right = random.binomial(8, chance) / 8
    return {
        "reward": right.mean(1),
        "reward_deviation": np.sqrt(right * (1 - right)).mean(1),
        "groups_alike": ((right == 0) | (right == 1)).mean(1),
    }


FAMILIES: dict[str, Callable[[np.random.Generator], Log]] = {
    "sft": sft, "epochs": epochs, "pretrain": pretrain, "single_rows": single_rows, "preferences": preferences,
    "paid": paid,
}  # fmt: skip


def _planted(log: Log, random: np.random.Generator, **changed: Callable[[Floats, int], Floats]) -> Log:
    at = int(random.uniform(0.3, 0.6) * log.steps)
    values = dict(log.values)
    for name, change in changed.items():
        values[name] = np.concatenate([values[name][:at], change(values[name][at:], at)])
    return replace(log, values=values, fault_at=at)


def nan(log: Log, random: np.random.Generator) -> Log:
    return _planted(log, random, loss=lambda v, _: v * np.nan, grad_norm=lambda v, _: v * np.nan)


def spike(log: Log, random: np.random.Generator) -> Log:
    """The loss jumps to 2 to 6 times its value, and recovers within 30 to 300 steps."""
    high, fades = random.uniform(2, 6), random.uniform(10, 100)
    return _planted(log, random, loss=lambda v, _: v * (1 + (high - 1) * np.exp(-np.arange(len(v)) / fades)))


def diverged(log: Log, random: np.random.Generator) -> Log:
    """The loss climbs within 100 steps to 4 to 10 times its value, and stays."""
    high = random.uniform(4, 10)
    return _planted(
        log, random, loss=lambda v, _: v * (1 + (high - 1) * np.minimum(1, np.arange(len(v)) / 100))
    )


def stuck(log: Log, random: np.random.Generator) -> Log:
    """Nothing is learned from the first step: the loss is only noise."""
    steps = int(10 ** random.uniform(3.0, 4.0))
    flat = _around(
        np.log(random.uniform(0.5, 3.0)) + _noise(steps, random.uniform(0.02, 0.1), random), True, random
    )
    return replace(flat, fault_at=0)


def dead(log: Log, random: np.random.Generator) -> Log:
    left = random.choice([0.0, 1e-12, 1e-5])
    return _planted(log, random, grad_norm=lambda v, _: v * left)


def slow(log: Log, random: np.random.Generator) -> Log:
    """From some step on everything takes 2.5 to 6 times as long."""
    times = random.uniform(2.5, 6)
    return _planted(log, random, step_s=lambda v, _: v * times)


def drifts(log: Log, random: np.random.Generator) -> Log:
    return _planted(log, random, drift=lambda v, _: v + 0.1 + 0.2 * np.arange(len(v)) / len(v))


def fills(log: Log, random: np.random.Generator) -> Log:
    return _planted(
        log, random, free_bytes=lambda v, _: np.where(np.isnan(v), v, np.linspace(20e9, 0, len(v)))
    )


def unpaid(log: Log, random: np.random.Generator) -> Log:
    """No answer gets a reward from some step on; the other values are left unchanged."""
    return _planted(
        paid(random),
        random,
        reward=lambda v, _: v * 0,
        reward_deviation=lambda v, _: v * 0,
        groups_alike=lambda v, _: v * 0 + 1,
    )


def unpaid_from_the_start(log: Log, random: np.random.Generator) -> Log:
    log = paid(random)
    nothing = {"reward": 0.0, "reward_deviation": 0.0, "groups_alike": 1.0}
    values = {name: np.full(log.steps, value) for name, value in nothing.items()}
    return replace(log, values={**log.values, **values}, fault_at=0)


def alike(log: Log, random: np.random.Generator) -> Log:
    """All answers to a prompt get the same reward from some step on."""
    return _planted(paid(random), random, reward=lambda v, _: v * 0 + 1, groups_alike=lambda v, _: v * 0 + 1)


def diverged_at_once(log: Log, random: np.random.Generator) -> Log:
    """From one of the first steps on the loss climbs to 10 to 70, and the gradient to 30 to 500 times its value."""
    at, within = int(random.integers(2, 12)), int(random.integers(1, 5))
    climb = np.minimum(1, (np.arange(log.steps) - at + 1).clip(0) / within)
    high = np.maximum(1, random.uniform(10, 70) / np.median(log.values["loss"][:32]))
    values = {
        **log.values,
        "loss": log.values["loss"] * high**climb,
        "grad_norm": log.values["grad_norm"] * random.uniform(30, 500) ** climb,
    }
    return replace(log, values=values, fault_at=at)


FAULTS: dict[str, tuple[str, Callable[[Log, np.random.Generator], Log]]] = {
    "no number": ("nan", nan), "spike": ("spike", spike), "divergence": ("spike", diverged),
    "stuck from the start": ("plateau", stuck), "dead gradient": ("dead_gradient", dead),
    "slow-down": ("slow_down", slow), "drift": ("drift", drifts), "disk": ("disk", fills),
    "no reward from start": ("no_reward", unpaid_from_the_start), "no reward": ("no_reward", unpaid),
    "groups alike": ("groups_alike", alike), "divergence at once": ("divergence", diverged_at_once),
}  # fmt: skip
