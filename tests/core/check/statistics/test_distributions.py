"""The distributions agree with scipy's in the middle and far out in the tails, from no trial to a hundred thousand."""

from __future__ import annotations

import sys
from fractions import Fraction
from itertools import accumulate
from math import comb

import numpy as np
import pytest
from scipy import special, stats

from finetop.core.check.statistics.distributions import (
    binomial_at_most,
    binomial_exactly,
    binomial_more_than,
    student_t,
)
from finetop.core.check.statistics.paired_tests import _too_many_for_chance, errors_of

CHANCES = (0.0, 1e-6, 0.01, 0.3, 0.5, 0.5004, 0.9, 0.999999, 1.0)
SMALLEST = sys.float_info.min  # below it numbers lose digits


def assert_close(ours, theirs, tolerance=1e-10):
    assert np.isfinite(ours).all()
    assert np.all(np.abs(ours - theirs) <= tolerance * theirs + SMALLEST)


@pytest.mark.parametrize("trials", [0, 1, 2, 15, 16, 17, 60, 997, 20_000, 100_000])
@pytest.mark.parametrize("chance", CHANCES)
def test_the_binomial_is_scipys(trials, chance):
    successes = np.unique(np.linspace(0, trials, 150).astype(int))
    assert_close(binomial_exactly(successes, trials, chance), stats.binom.pmf(successes, trials, chance))
    assert_close(binomial_at_most(successes, trials, chance), stats.binom.cdf(successes, trials, chance))
    assert_close(binomial_more_than(successes, trials, chance), stats.binom.sf(successes, trials, chance))
    assert binomial_at_most(-1, trials, chance) == 0
    assert binomial_more_than(-1, trials, chance) == 1


def test_trials_may_differ_a_tail_keeps_its_digits_and_standard_errors_are_scipys():
    trials = np.arange(1, 900)
    least = np.ceil(trials * 0.7)
    assert_close(binomial_more_than(least - 1, trials, 0.31), stats.binom.sf(least - 1, trials, 0.31))
    exact = sum(comb(1000, lost) for lost in range(101)) / Fraction(2) ** 1000
    assert float(binomial_at_most(100, 1000, 0.5)) == pytest.approx(float(exact), rel=1e-12)  # 1e-161
    assert float(binomial_more_than(899, 1000, 0.5)) == pytest.approx(float(exact), rel=1e-12)
    for level in (1e-9, 0.001, 0.0245, 0.049, 0.2, 0.5, 0.8):
        assert errors_of(level) == pytest.approx(-special.ndtri(level), rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("level", [1e-6, 0.001, 0.0245, 0.049, 0.2, 0.25, 0.5, 0.9])
def test_a_fair_coins_fewest_losses_are_exact(level):
    fewest = _too_many_for_chance(400, level)
    for flips in (*range(12), 100, 399, 400):
        tails = accumulate(comb(flips, lost) for lost in range(flips, 0, -1))  # of `lost` or more, most first
        assert fewest[flips] == 1 + sum(tail > Fraction(level) * 2**flips for tail in tails)
    if level not in (0.25, 0.5):  # exact ties, which scipy rounds
        flips = np.arange(1, 20_001)
        fewest = _too_many_for_chance(20_000, level)[1:]
        assert np.all((special.bdtrc(fewest - 1, flips, 0.5) <= level) | (fewest > flips))
        assert np.all((special.bdtrc(fewest - 2, flips, 0.5) > level) | (fewest == 1))


@pytest.mark.parametrize("freedom", [*range(1, 41), 99, 100, 999, 1000])
def test_students_t_is_scipys(freedom):
    for chance in (0.5, 0.51, 0.6, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9995):
        wanted = special.stdtrit(freedom, chance)
        assert student_t(freedom, chance) == pytest.approx(wanted, rel=1e-11, abs=1e-14)
