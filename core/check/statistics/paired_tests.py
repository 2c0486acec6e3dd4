"""Numbers reported beside a verdict: measurability, flips, the exact McNemar test and the power of a suite.

Pure functions of scores and counts. The distributions, and numpy with them, are imported where they are used, because
drawing a verdict on the screen does not need them.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from functools import cache
from math import ceil, sqrt
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput
from finetop.core.protocol.check_result import Category, Power

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

STANDARD_ERRORS = 3
EARLY = 0.02  # the share of alpha for a REGRESSED before every item was asked; see sequential.py
USUAL_POWER = 0.8  # the drop is caught 4 of 5 times
_DIGITS = (10, 15, 20, 25, 30, 40, 50, 60, 80)
# 10, 15, 20, ..., 80, 100, 150, ..., 20,000: never advise more
ROUND_NUMBERS = [n * 10**power for power in range(4) for n in _DIGITS if n * 10**power <= 20_000]
NEGLIGIBLE = 1e-30  # a chance that moves no digit of a power
ROUNDING = 1e-11  # of a chance that is added up over 20,000 flips


class Measured(msgspec.Struct, frozen=True):
    """What the base scores on a task, and whether a drop would be visible there."""

    items: int
    base: float
    stderr: float
    chance: float
    measurable: bool


def measure(cluster_scores: Sequence[Sequence[float]], chance: float) -> Measured:
    """Measure whether the base scores over 3 standard errors above chance, from all its scores by cluster.

    The standard error is the larger of the observed one (clusters kept together) and that of a guesser: a
    handful of equal scores shows no spread. At or below chance there is nothing to lose. Scores and chance are in
    [0, 1].
    """
    if not 0 <= chance < 1:
        hint = "Give 1/choices, the majority label's share, or 0 for free answers."
        raise BadInput(f"chance is {chance:g}.", hint=hint)
    scores = [score for cluster in cluster_scores for score in cluster]
    if not scores:
        return Measured(0, 0.0, 0.0, chance, False)
    items = len(scores)
    base = sum(scores) / items
    seen = sqrt(sum((sum(cluster) - base * len(cluster)) ** 2 for cluster in cluster_scores)) / items
    guessing = sqrt(chance * (1 - chance) / items)
    stderr = max(seen, guessing)
    return Measured(items, base, stderr, chance, base > chance + STANDARD_ERRORS * stderr)


class Flips(msgspec.Struct, frozen=True):
    """Items lost (the base scored more) and won; corrected for guessing if scores are binary."""

    items: int
    lost: int
    won: int
    lost_corrected: float | None
    won_corrected: float | None

    @property
    def discordance(self) -> float:
        """Return the share of items whose score changed."""
        return (self.lost + self.won) / self.items if self.items else 0.0


def is_binary(scores: Sequence[float]) -> bool:
    """Return whether every score is 0 or 1."""
    return all(score in (0, 1) for score in scores)


def count_flips(base: Sequence[float], tuned: Sequence[float], chance: float) -> Flips:
    """Count items lost and won on one task, raw and less what guessing alone would flip.

    A model that knows or else guesses is right by luck on (1 - accuracy) * chance / (1 - chance) of the
    items; luck before and none after looks like a loss: Harmon et al. 2025, arXiv:2510.17776, there with
    chance = 1/k. Corrected counts are never below 0, and None if scores are not binary.
    """
    items = len(base)
    pairs = list(zip(base, tuned, strict=True))
    lost, won = sum(before > after for before, after in pairs), sum(before < after for before, after in pairs)
    if not items:
        return Flips(0, 0, 0, 0.0, 0.0)
    if not (is_binary(base) and is_binary(tuned)):
        return Flips(items, lost, won, None, None)
    wrong_before, wrong_after = 1 - sum(base) / items, 1 - sum(tuned) / items
    by_luck = items * wrong_before * wrong_after * chance / (1 - chance)
    return Flips(items, lost, won, max(lost - by_luck, 0.0), max(won - by_luck, 0.0))


def sum_flips(flips: Sequence[Flips]) -> Flips:
    """Add up the flips of several tasks; corrected counts only if every task has them."""
    items, lost, won = (sum(getattr(task, key) for task in flips) for key in ("items", "lost", "won"))
    lost_corrected = [task.lost_corrected for task in flips if task.lost_corrected is not None]
    won_corrected = [task.won_corrected for task in flips if task.won_corrected is not None]
    if not flips or len(lost_corrected) < len(flips):
        return Flips(items, lost, won, None, None)
    return Flips(items, lost, won, sum(lost_corrected), sum(won_corrected))


def count_categories(scores: Iterable[tuple[str, str, float, float]]) -> tuple[Category, ...]:
    """Count lost and won items, given as (task, category, base, tuned), by category, most losses first."""
    seen, lost, won = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for task, category, base, tuned in scores:
        seen[task, category] += 1
        lost[task, category] += tuned < base
        won[task, category] += tuned > base
    order = sorted(seen, key=lambda group: (-lost[group], group))
    return tuple(Category(*group, seen[group], lost[group], won[group]) for group in order)


def mcnemar_p(lost: int, won: int) -> float:
    """Return the exact two-sided McNemar p-value: could this split of the flips be a fair coin's?"""
    from finetop.core.check.statistics.distributions import binomial_at_most

    if lost + won == 0:
        return 1.0
    return min(1.0, 2 * float(binomial_at_most(min(lost, won), lost + won, 0.5)))


def level_at_the_end(alpha: float) -> float:
    """Return the share of alpha that the exact test has once every item was asked."""
    return alpha * (1 - EARLY)


def power_of(
    counts: Iterable[tuple[int, float]], margin: float, alpha: float, both_ways: float, drops: Iterable[float]
) -> tuple[Power, ...]:
    """Return how often drops of these sizes are caught on tasks of (items, weight): of a check and before one.

    `both_ways` is the share of items that an unchanged model loses or wins. A weighted suite is as good as an
    unweighted one of fewer items: (sum of weights)^2 / sum of squares (Kish).
    """
    sizes = [(items, Fraction(weight)) for items, weight in counts]
    weights, squares = (sum(items * weight**power for items, weight in sizes) for power in (1, 2))
    items, level = round(Fraction(weights) ** 2 / squares), level_at_the_end(alpha)
    return tuple(
        Power(drop, chance_of_regressed(items, margin, both_ways + drop, drop, level)) for drop in drops
    )


def chance_of_regressed(items: int, margin: float, discordance: float, drop: float, level: float) -> float:
    """Return how often a fresh suite of this size is REGRESSED once all is asked, if the ability fell by `drop`.

    It must show the margin or more, and more losses than an unchanged model has with probability `level`. Exact for
    binary items, each lost with probability (discordance + drop) / 2 and won with (discordance - drop) / 2;
    discordance is raised to |drop| if it is less. Ignores a single lost task and betting's early stops, which change
    it by about a point.
    """
    import numpy as np

    from finetop.core.check.statistics.distributions import binomial_exactly, binomial_more_than

    if items < 1:
        return 0.0
    changing = min(1.0, max(discordance, abs(drop)))
    if changing == 0:
        return 0.0
    needed = ceil(round(margin * items, 9))  # losses less wins; margin * items is 18, not 18.000000000000004
    changed = np.arange(items + 1)
    share = binomial_exactly(changed, items, changing)
    fewest_lost = np.maximum(np.ceil((needed + changed) / 2), _too_many_for_chance(items, level))
    counts = (fewest_lost <= changed) & (share > NEGLIGIBLE)
    enough = binomial_more_than(fewest_lost[counts] - 1, changed[counts], (1 + drop / changing) / 2)
    return float(np.sum(share[counts] * enough))


@cache
def _too_many_for_chance(items: int, level: float) -> NDArray[np.float64]:
    """Return, for 0 to `items` flips, the fewest losses that a fair coin has with probability `level` or less."""
    import numpy as np

    fewest = np.empty(items + 1)
    # the chance of `lost` losses or more of `flips`, and of exactly one less
    lost, so_many, one_less = 1, 0.0, 1.0
    for flips in range(items + 1):  # one flip more needs no fewer losses, and at most one more
        while lost <= flips and so_many > level * (1 + ROUNDING):
            one_less *= (flips - lost + 1) / lost
            so_many -= one_less
            lost += 1
        fewest[flips] = lost
        so_many += one_less / 2
        one_less *= (flips + 1) / (2 * (flips + 2 - lost))
    return fewest


def items_for(power: float, margin: float, discordance: float, drop: float, level: float) -> int | None:
    """Return the fewest items, a round number, that catch this drop with this power; None if 20,000 do not."""
    caught = (n for n in ROUND_NUMBERS if chance_of_regressed(n, margin, discordance, drop, level) >= power)
    return next(caught, None)


def errors_of(level: float) -> float:
    """Return how many standard errors above zero a loss must be to be proven at this level."""
    from statistics import NormalDist

    return -NormalDist().inv_cdf(level)


def more_items(items: int, lost: float, squares: float, bar: float) -> int | None:
    """Return how many more items would prove a drop like this one in 4 of 5 suites, rounded up; None for over 20,000.

    `lost` is the sum of the changes so far, `squares` that of their squares (for binary items: how many flipped),
    `bar` the standard errors that prove it. These grow with the square root of the items.
    """
    if lost <= 0:
        return None
    more = items * ((bar + errors_of(1 - USUAL_POWER)) ** 2 * squares / lost**2 - 1)
    return next((number for number in ROUND_NUMBERS if number >= more), None)
