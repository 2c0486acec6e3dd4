"""PPO's random numbers, each derived from its purpose, the seed and the position: resuming draws the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy
import torch

Item = TypeVar("Item")
PROMPTS, ANSWERS, ORDER, EVALUATION = range(4)  # what random numbers are for


def seed_of(*parts: int) -> int:
    """Mix several numbers into one seed, so that seeds of related numbers are unrelated."""
    return int(numpy.random.SeedSequence(parts).generate_state(1)[0])


def permutation(size: int, seed: int) -> list[int]:
    """Return the numbers below `size` in an order drawn by a seed."""
    order: list[int] = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
    return order


def next_rows(rows: Sequence[Item], seed: int, drawn: int, count: int) -> list[Item]:
    """Return the next `count` rows after the first `drawn`, in an order that the seed draws again for each epoch."""
    size = len(rows)
    chosen: list[Item] = []
    for number in range(drawn, drawn + count):
        epoch, place = divmod(number, size)
        if not chosen or place == 0:
            order = permutation(size, seed_of(seed, PROMPTS, epoch))
        chosen.append(rows[order[place]])
    return chosen


def order_of(minibatches: int, batches: int, passes: int, seed: int, rollout: int) -> list[int]:
    """Return the order of a rollout's batches: minibatches of `batches` each, reshuffled in every pass."""
    seeds = [seed_of(seed, ORDER, rollout, once) for once in range(passes)]
    minibatch_order = [number for drawn in seeds for number in permutation(minibatches, drawn)]
    return [minibatch * batches + number for minibatch in minibatch_order for number in range(batches)]
