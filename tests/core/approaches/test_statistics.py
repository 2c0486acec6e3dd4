"""Means, intervals and paired differences: against scipy, and against known properties."""

import random

import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from finetop.core.approaches import _statistics as statistics


def items(values, weight=1.0):
    return {str(at): (value, weight) for at, value in enumerate(values)}


def test_a_share_has_wilsons_interval_which_is_never_empty():
    found = statistics.score([items([1.0] * 3 + [0.0] * 21)])
    low, high = proportion_confint(3, 24, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high)) and found.mean == 0.125
    none = statistics.score([items([0.0] * 24)])
    assert none.low == 0.0 and none.high > 0.1, "of 24 rows that all failed, more may do well"


def test_the_interval_of_a_mean_is_the_normal_one():
    values = [random.Random(1).random() for _ in range(50)]
    found = statistics.score([items(values)])
    half = stats.norm.ppf(0.975) * stats.sem(values)
    assert (found.mean, found.high) == pytest.approx((sum(values) / 50, sum(values) / 50 + half))


def test_seeds_are_averaged_row_by_row_and_their_spread_is_told_beside():
    runs = [items([0.0, 0.5, 1.0]), items([0.5, 0.5, 1.0]), items([1.0, 0.5, 1.0, 0.3])]
    found = statistics.score(runs)
    assert found.rows == 3 and found.seeds == 3 and found.mean == pytest.approx(2.0 / 3)
    assert found.spread == pytest.approx(stats.tstd([0.5, 2.0 / 3, 0.7]))


def test_a_paired_difference_is_narrower_than_two_intervals():
    one = [0.1, 0.9, 0.4, 0.6, 0.2, 0.8]
    gap = statistics.gap([items(one)], [items([value + 0.1 + 0.01 * at for at, value in enumerate(one)])])
    assert gap.mean == pytest.approx(-0.125) and not gap.is_open and gap.rows == 6
    assert statistics.gap([items(one)], [items(one)]).is_open
    assert statistics.gap([items(one)], [{"other": (1.0, 1.0)}]) is None


def test_nats_are_per_token_over_all_answers_together():
    found = statistics.score([{"a": (10.0, 5.0), "b": (2.0, 1.0), "c": (9.0, 4.0)}])
    assert found.mean == pytest.approx(2.1) and found.high > 2.1
    assert statistics.is_better("nats_per_token", 1.0, 2.0) and statistics.is_better("token_f1", 2.0, 1.0)
    fell = statistics.Gap(-0.5, -0.7, -0.3, 9)
    assert statistics.gains("nats_per_token", fell) and not statistics.gains("token_f1", fell)
