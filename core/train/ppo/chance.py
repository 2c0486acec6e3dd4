"""The random numbers of PPO: what they are for, and that each follows from the seed and from where the run is.

So a resumed run draws what it would have drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")
PROMPTS, ANSWERS, ORDER, EVALUATION = range(4)  # what random numbers are for


def seed_of(*parts: int) -> int:
    """Make one seed of several numbers, such that none of them says anything of another."""
    return int(numpy.random.SeedSequence(parts).generate_state(1)[0])


def permutation(size: int, seed: int) -> list[int]:
    """Order the numbers below `size` by a seed."""
    order: list[int] = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
    return order


def take(rows: Sequence[Item], seed: int, drawn: int, count: int) -> list[Item]:
    """Take the next `count` rows after `drawn` ones, of an order that the seed draws anew for each epoch."""
    size = len(rows)
    taken: list[Item] = []
    for number in range(drawn, drawn + count):
        epoch, place = divmod(number, size)
        if not taken or place == 0:
            order = permutation(size, seed_of(seed, PROMPTS, epoch))
        taken.append(rows[order[place]])
    return taken


def order_of(minibatches: int, batches: int, passes: int, seed: int, rollout: int) -> list[int]:
    """Order a rollout's batches: its minibatches, of `batches` each, in an order of its own in every pass."""
    return [
        minibatch * batches + number
        for once in range(passes)
        for minibatch in permutation(minibatches, seed_of(seed, ORDER, rollout, once))
        for number in range(batches)
    ]
