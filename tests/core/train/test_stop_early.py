"""Decisions from a metric's values: when training stops improving, and which step was the best."""

from math import inf, nan

import pytest

from finetop.core.recipe.schema import StopEarly
from finetop.core.train import stop_early


def watch(values, *, patience=3, min_delta=0.0, metric="eval_loss", lower=True):
    wanted = StopEarly(patience=patience, min_delta=min_delta)
    return stop_early.Watch(metric, lower, True, wanted, values=dict(values))


@pytest.mark.parametrize(("values", "said"), [
    ({}, ""),
    ({30: 1.5, 60: 1.4, 90: 1.23, 100: 1.3, 110: 1.25}, ""),
    ({30: 1.5, 60: 1.4, 90: 1.23, 100: 1.3, 110: 1.25, 120: 1.24},
     "stopped early at step 120: eval_loss did not improve on 1.23 (step 90) in 3 evaluations"),
    ({10: 1.0, 20: 1.1, 30: 1.1, 40: 0.9}, ""),
    ({10: nan, 20: nan, 30: nan}, "stopped early at step 30: eval_loss was not finite in 3 evaluations"),
    ({10: 1.0, 20: nan, 30: -inf, 40: 1.0},
     "stopped early at step 40: eval_loss did not improve on 1 (step 10) in 3 evaluations"),
])  # fmt: skip
def test_patience_counts_evaluations_without_an_improvement(values, said):
    assert stop_early.end_of(watch(values)) == said


def test_a_change_within_min_delta_is_no_improvement():
    values = {1: 1.0, 2: 0.95, 3: 0.94, 4: 0.93}
    assert not stop_early.end_of(watch(values))
    said = stop_early.end_of(watch(values, min_delta=0.1))
    assert said.endswith("did not improve on 1 (step 1) by more than 0.1 in 3 evaluations")
    # Small gains add up: each is compared with the best, not with the value before.
    assert not stop_early.end_of(watch({1: 1.0, 2: 0.95, 3: 0.89, 4: 0.88}, min_delta=0.1))


def test_a_reward_is_better_the_higher_it_is():
    rising = {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
    assert not stop_early.end_of(watch(rising, metric="eval_reward", lower=False))
    assert stop_early.end_of(watch(rising))
    assert stop_early.best_of(rising, lower=False) == 4


def test_the_best_is_the_first_of_equals_and_a_number():
    assert stop_early.best_of({1: nan, 2: 1.5, 3: 1.2, 4: 1.2, 5: -inf, 6: inf}, lower=True) == 3
    assert stop_early.best_of({1: nan}, lower=True) is None
    assert stop_early.spared(watch({1: nan, 2: 1.5, 3: 1.2})) == {3}
    assert stop_early.spared(None) == set()
