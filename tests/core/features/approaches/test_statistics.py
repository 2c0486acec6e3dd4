"""Means, intervals and paired differences: against scipy, and against known properties."""

import random

import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from finetop.core.features.approaches import statistics


def items(values, weight=1.0):
    return {str(at): (value, weight) for at, value in enumerate(values)}


def test_a_share_has_wilsons_interval_which_is_never_empty():
    score_of_items = statistics.score([items([1.0] * 3 + [0.0] * 21)])
    low, high = proportion_confint(3, 24, method="wilson")
    assert (score_of_items.low, score_of_items.high) == pytest.approx((low, high))
    assert score_of_items.mean == 0.125
    none = statistics.score([items([0.0] * 24)])
    assert none.low == 0.0 and none.high > 0.1, "of 24 rows that all failed, more may do well"


def test_the_interval_of_a_mean_is_the_normal_one():
    values = [random.Random(1).random() for _ in range(50)]
    score_of_items = statistics.score([items(values)])
    half = stats.norm.ppf(0.975) * stats.sem(values)
    mean = sum(values) / 50
    assert (score_of_items.mean, score_of_items.high) == pytest.approx((mean, mean + half))


def test_seeds_are_averaged_row_by_row_and_their_spread_is_told_beside():
    runs = [items([0.0, 0.5, 1.0]), items([0.5, 0.5, 1.0]), items([1.0, 0.5, 1.0, 0.3])]
    score_of_items = statistics.score(runs)
    assert (score_of_items.rows, score_of_items.seeds) == (3, 3)
    assert score_of_items.mean == pytest.approx(2.0 / 3)
    assert score_of_items.spread == pytest.approx(stats.tstd([0.5, 2.0 / 3, 0.7]))


def test_a_paired_difference_is_narrower_than_two_intervals():
    first_scores = [0.1, 0.9, 0.4, 0.6, 0.2, 0.8]
    gap = statistics.gap(
        [items(first_scores)], [items([value + 0.1 + 0.01 * at for at, value in enumerate(first_scores)])]
    )
    assert gap.mean == pytest.approx(-0.125) and not gap.is_open and gap.rows == 6
    assert statistics.gap([items(first_scores)], [items(first_scores)]).is_open
    assert statistics.gap([items(first_scores)], [{"other": (1.0, 1.0)}]) is None


def test_nats_are_per_token_over_all_answers_together():
    score_of_items = statistics.score([{"a": (10.0, 5.0), "b": (2.0, 1.0), "c": (9.0, 4.0)}])
    assert score_of_items.mean == pytest.approx(2.1) and score_of_items.high > 2.1
    assert statistics.is_better("nats_per_token", 1.0, 2.0) and statistics.is_better("token_f1", 2.0, 1.0)
    fell = statistics.Gap(-0.5, -0.7, -0.3, 9)
    assert statistics.gains("nats_per_token", fell) and not statistics.gains("token_f1", fell)
