"""The exact test of "the model did not change", once every item was asked; independent of the items' order.

An unchanged model's scores and its base's are interchangeable: in each cluster that changed, a loss is as likely as
a win of the same size, whatever the other clusters did. So the signs of the changes are fair coins (Fisher 1935; as
paired randomization test in NLP: Noreen 1989, Dror et al. 2018, doi:10.18653/v1/P18-1128), and how often coins alone
lose as much as observed is an exact p-value. For single binary items of equal weight it is the one-sided exact McNemar
test, which also holds if items differ in how likely they flip. If tasks are weighted or items are clustered, the
signs are drawn 20,000 times, with the observed ones as one draw more (Phipson & Smyth 2010,
doi:10.2202/1544-6115.1585), from sorted changes and a fixed seed.

REGRESSED can also come from a lost task. So the p-value counts more than losses of the whole: it is how often coins
alone lose as much, *or* make some task's evidence pass its bar. Both ways together then stay at the level. A single
task's evidence passes if it has many losses, which the plain test already counts; then the two are the same.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from finetop.core.check.statistics.betting import BETS, log_mean_exp
from finetop.core.check.statistics.distributions import binomial_exactly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.check.statistics.betting import Exact, Floats

DRAWS, DRAWN_AT_ONCE = 20_000, 1000


class TaskChanges(msgspec.Struct, frozen=True):
    """One task's clusters: the sum of tuned - base of each, the largest cluster's size, and an item's weight."""

    sums: tuple[Exact, ...]
    largest: int = 1
    weight: int = 1


def chance_of_loss(tasks: Sequence[TaskChanges], alpha_tasks: float) -> float:
    """Return how often an unchanged model loses as much as these tasks did, or has a task lost at `alpha_tasks`."""
    bar = log(len(tasks) / alpha_tasks)
    counts_alike = len({task.weight for task in tasks}) == 1
    if counts_alike and all(task.largest == 1 and set(task.sums) <= {-1, 0, 1} for task in tasks):
        return _exact(tasks, bar)
    return _drawn(tasks, bar)


def _exact(tasks: Sequence[TaskChanges], bar: float) -> float:
    """Convolve the tasks' losses, a fair coin per flip, as long as no task's evidence passes the bar."""
    unseen = np.ones(1)  # the chance of each total of losses while no task looks lost
    for task in tasks:
        flips = sum(change != 0 for change in task.sums)
        lost = np.arange(flips + 1)
        evidence = log_mean_exp(np.outer(lost, np.log1p(BETS)) + np.outer(flips - lost, np.log1p(-BETS)))
        unseen = np.convolve(unseen, binomial_exactly(lost, flips, 0.5) * (evidence < bar))
    fewer = sum(change < 0 for task in tasks for change in task.sums)
    return float(max(1 - unseen[:fewer].sum(), 0.0))


def _drawn(tasks: Sequence[TaskChanges], bar: float) -> float:
    """Draw the signs of all changes; count how often they lose as much, or make a task look lost."""
    sizes: list[Floats] = [np.sort([abs(float(change)) for change in task.sums if change]) for task in tasks]
    weighted = [task.weight * size for task, own in zip(tasks, sizes, strict=True) for size in own]
    changed = np.array(weighted, dtype=np.float64)
    seen = -float(sum(task.weight * sum(task.sums) for task in tasks))
    enough = seen - 1e-9 * max(changed.sum(), 1.0)
    ends = np.cumsum([len(own) for own in sizes])
    random, hits = np.random.default_rng(0), 0
    for _ in range(0, DRAWS, DRAWN_AT_ONCE):
        lost = random.integers(0, 2, size=(DRAWN_AT_ONCE, len(changed)), dtype=np.int8).astype(np.float64)
        is_extreme = (2 * lost - 1) @ changed >= enough
        for task, own, end in zip(tasks, sizes, ends, strict=True):
            steps = np.outer(own / task.largest, BETS)
            grown = lost[:, end - len(own) : end] @ (np.log1p(steps) - np.log1p(-steps))
            is_extreme |= log_mean_exp(grown + np.log1p(-steps).sum(axis=0)) >= bar
        hits += int(is_extreme.sum())
    return (hits + 1) / (DRAWS + 1)
