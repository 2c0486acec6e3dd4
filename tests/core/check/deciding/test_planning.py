"""Plans: weights as whole numbers, and what part of alpha a checkpoint's claim has."""

from __future__ import annotations

from itertools import combinations
from math import inf, nan
from typing import Any

import pytest

from finetop.core.check.deciding.permutation import Item
from finetop.core.check.deciding.planning import make_plan, whole_weights
from finetop.core.check.deciding.verdict import CheckPlan, TaskPlan
from finetop.core.errors import BadInput

ITEMS = [Item(task, str(number)) for task in ("a", "b", "c") for number in range(20)]


def weighing(*weights: float) -> list[TaskPlan]:
    return [TaskPlan(name, "acc", 0.0, weight) for name, weight in zip("abc", weights, strict=False)]


def plan(*weights: float, **options: Any) -> CheckPlan:
    return make_plan(
        weighing(*(weights or (1.0,) * 3)),
        ITEMS,
        {item.key: 1.0 for item in ITEMS},
        seed=1,
        cap=None,
        **options,
    )


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ((1.0, 1.0, 1.0), [1, 1, 1]),
        ((7.3, 7.3, 7.3), [1, 1, 1]),
        ((0.1, 0.3, 0.2), [1, 3, 2]),
        ((0.5, 1.5, 4), [1, 3, 8]),
        ((1.0, 2.5), [2, 5]),
        ((1e-3, 1e3), [1, 10**6]),
    ],
)
def test_weights_are_the_smallest_whole_numbers_of_their_ratio(
    given: tuple[float, ...], whole: list[int]
) -> None:
    assert list(whole_weights(weighing(*given)).values()) == whole


@pytest.mark.parametrize("weight", [0.0, -1.0, inf, nan])
def test_a_weight_is_a_number_above_0(weight: float) -> None:
    with pytest.raises(BadInput, match=f"b: its weight is {weight:g}"):
        plan(1.0, weight, 1.0)


def test_the_hash_covers_ratios_of_weights_and_the_claim() -> None:
    plans = [
        plan(),
        plan(1.0, 2.0, 1.0),
        plan(2.0, 1.0, 1.0),
        plan(claim=1),
        plan(claim=2),
        plan(watch=True),
        plan(alpha=0.025),  # what claim 1 spends, and not the same plan
    ]
    assert all(one.hash != other.hash for one, other in combinations(plans, 2))
    assert plan(0.3, 0.3, 0.3).hash == plan().hash == plan(claim=0).hash
    assert plan(0.5, 1.0, 0.5).hash == plan(1.0, 2.0, 1.0).hash
    assert plan(1.0, 2.0, 1.0).order == plan().order


def test_each_claim_has_its_share_of_alpha_and_a_watch_has_all() -> None:
    given = {claim: plan(claim=claim) for claim in range(4)}
    assert [given[claim].alpha for claim in range(4)] == pytest.approx([0.05, 0.05 / 2, 0.05 / 6, 0.05 / 12])
    assert {one.alpha_total for one in given.values()} == {0.05}
    assert (plan(watch=True).alpha, plan(watch=True).watch, plan(watch=True).claim) == (0.05, True, 0)


@pytest.mark.parametrize(
    ("options", "said"), [({"claim": -1}, "claim is -1"), ({"claim": 2, "watch": True}, "watch is set")]
)
def test_no_claim_that_is_none(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        plan(**options)
