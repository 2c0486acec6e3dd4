"""Measurements happen at their interval, and never take more than their share of the time."""

import pytest

from finetop.core.recipe.length import steps_between
from finetop.core.train.intervals import LARGEST_SHARE, Ration


@pytest.mark.parametrize(("pace", "steps"), [(50, 50), (0.25, 25), (1.0, 100), (1, 1), (0.001, 1)])
def test_a_pace_is_steps_or_a_share_of_the_run(pace, steps):
    assert steps_between(pace, 100) == steps


def test_a_cheap_look_happens_every_time():
    ration = Ration(every=10, began=0.0)
    looked = []
    for step in range(1, 101):
        if ration.asks(step, now=float(step)):
            looked.append(step)
            ration.took(0.01)
    assert looked == list(range(10, 101, 10))


def test_a_dear_look_waits_until_it_is_earned():
    ration = Ration(every=10, began=0.0)
    looked = []
    for step in range(1, 1001):
        if ration.asks(step, now=float(step)):
            looked.append(step)
            ration.took(5.0)
        assert ration.spent_s <= max(5.0, LARGEST_SHARE * step), "beyond the first, none is taken on credit"
    assert looked[0] == 10
    assert 8 <= len(looked) <= 11  # 5 % of 1,000 s, 5 s each
