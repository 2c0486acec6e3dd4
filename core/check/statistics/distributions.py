"""The binomial distribution and Student's t, in numpy: scipy's are as good, and weigh more than all that `diff` needs.

The chance of one count is Loader's saddle-point form (2000, Fast and Accurate Computation of Binomial Probabilities):
a difference of log-gammas loses a digit for each digit of the number of trials, this does not. A tail is a sum of terms
that shrink from its edge on; none is negative, so the smallest tail keeps its digits.
"""

from __future__ import annotations

from math import cos, lgamma, log, pi, sin, sqrt, tan
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]

SERIES_FROM = 16  # trials from which Stirling's series is exact to 1e-16
NEGLIGIBLE = 1e-17  # share of a sum: a term below it changes no digit
HALVINGS = 60

_SMALL_ERRORS = np.array(
    [lgamma(n + 1) - (n + 0.5) * log(n) + n - log(2 * pi) / 2 for n in range(1, SERIES_FROM)]
)


def binomial_exactly(successes: ArrayLike, trials: ArrayLike, chance: float) -> Floats:
    """Return the chance of so many successes in so many trials, elementwise."""
    return _exactly(*_floats(successes, trials), chance, 1 - chance)


def binomial_at_most(successes: ArrayLike, trials: ArrayLike, chance: float) -> Floats:
    """Return the chance of so many successes or fewer, elementwise; scipy's bdtr."""
    return _at_most(*_floats(successes, trials), chance, 1 - chance)


def binomial_more_than(successes: ArrayLike, trials: ArrayLike, chance: float) -> Floats:
    """Return the chance of more successes, elementwise: that fewer of the others fail; scipy's bdtrc."""
    succeed, count = _floats(successes, trials)
    return _at_most(count - succeed - 1, count, 1 - chance, chance)


def _floats(successes: ArrayLike, trials: ArrayLike) -> tuple[Floats, Floats]:
    succeed, count = np.broadcast_arrays(np.asarray(successes, float), np.asarray(trials, float))
    return succeed, count


def _exactly(succeed: Floats, count: Floats, chance: float, rest: float) -> Floats:
    fail = count - succeed
    is_inside = (succeed > 0) & (fail > 0) & (0 < chance < 1)
    won, lost = np.where(is_inside, succeed, 1.0), np.where(is_inside, fail, 1.0)
    total = won + lost
    exponent = _stirling_error(total) - _stirling_error(won) - _stirling_error(lost)
    for seen, share in ((won, chance), (lost, rest)):
        expected = total * (share or 1.0)
        exponent -= seen * np.log(seen / expected) + expected - seen
    inside = np.exp(exponent) * np.sqrt(total / (2 * pi * won * lost))
    at_an_end = np.where(fail == 0, chance**count, np.where(succeed == 0, rest**count, 0.0))
    return np.where(is_inside, inside, at_an_end)


def _stirling_error(count: Floats) -> Floats:
    """Return log(n!) less Stirling's formula for it, for whole n from 1 on."""
    inverse = 1 / count**2
    series = (
        1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - inverse / 1188) * inverse) * inverse) * inverse
    ) / count
    is_small = count < SERIES_FROM
    return np.where(is_small, _SMALL_ERRORS[np.where(is_small, count, 1).astype(int) - 1], series)


def _at_most(succeed: Floats, count: Floats, chance: float, rest: float) -> Floats:
    """Add up the smaller side: above the expected number, that of more successes."""
    is_low = succeed <= count * chance
    low = _sum_down(np.where(is_low, succeed, -1), count, chance, rest)
    high = _sum_down(np.where(is_low, -1, count - succeed - 1), count, rest, chance)
    return np.where(is_low, low, 1 - high)


def _sum_down(succeed: Floats, count: Floats, chance: float, rest: float) -> Floats:
    """Return the chance of `succeed` successes or fewer, no more than are expected; 0 below none."""
    at = np.maximum(succeed, 0)
    term = np.where(succeed < 0, 0.0, _exactly(at, count, chance, rest))
    total = term
    while (term > NEGLIGIBLE * total).any():
        term = term * (at * rest / ((count - at + 1) * (chance or 1.0)))
        total = total + term
        at = np.maximum(at - 1, 0)
    return total


def student_t(freedom: int, chance: float) -> float:
    """Return the t that a sample of `freedom` + 1 stays below with this chance, 0.5 to 1; scipy's stdtrit.

    Inverts the finite sums of Abramowitz & Stegun 26.7.3 and 26.7.4 in the angle whose tangent is t / sqrt(freedom).
    """
    low, high = 0.0, pi / 2
    for _ in range(HALVINGS):
        angle = (low + high) / 2
        if (1 + _within(freedom, angle)) / 2 < chance:
            low = angle
        else:
            high = angle
    return sqrt(freedom) * tan((low + high) / 2)


def _within(freedom: int, angle: float) -> float:
    """Return the chance that |t| is below sqrt(freedom) * tan(angle)."""
    is_odd = freedom % 2
    term = cos(angle) if is_odd else 1.0
    total = 0.0
    for power in range(2 + is_odd, freedom + 1, 2):
        total += term
        term *= cos(angle) ** 2 * (power - 1) / power
    if is_odd:
        return 2 / pi * (angle + sin(angle) * total)
    return sin(angle) * total
