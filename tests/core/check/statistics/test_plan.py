"""Plans: weights as whole numbers, and a checkpoint's share of alpha."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations
from math import inf, nan
from typing import Any

import pytest

from finetop.core.check.statistics.item_order import Item, sample_stages
from finetop.core.check.statistics.plan import make_plan, sampled, whole_weights
from finetop.core.check.statistics.sequential import begin, feed, next_items
from finetop.core.check.statistics.verdict import CheckPlan, TaskPlan
from finetop.core.errors import BadInput

ITEMS = [Item(task, str(number)) for task in ("a", "b", "c") for number in range(20)]


def weighing(*weights: float) -> list[TaskPlan]:
    return [TaskPlan(name, "acc", 0.0, weight) for name, weight in zip("abc", weights, strict=False)]


def plan(*weights: float, **options: Any) -> CheckPlan:
    base = {item.key: 1.0 for item in ITEMS}
    return make_plan(weighing(*(weights or (1.0,) * 3)), ITEMS, base, seed=1, cap=None, **options)


@pytest.mark.parametrize(
    ("given", "whole"),
    [((1.0, 1.0, 1.0), [1, 1, 1]), ((7.3, 7.3, 7.3), [1, 1, 1]), ((0.1, 0.3, 0.2), [1, 3, 2]),
     ((0.5, 1.5, 4), [1, 3, 8]), ((1.0, 2.5), [2, 5]), ((1e-3, 1e3), [1, 10**6])],
)  # fmt: skip
def test_weights_are_the_smallest_whole_numbers_of_their_ratio(given, whole):
    assert list(whole_weights(weighing(*given)).values()) == whole


@pytest.mark.parametrize("weight", [0.0, -1.0, inf, nan])
def test_a_weight_is_a_number_above_0(weight):
    with pytest.raises(BadInput, match=f"b: its weight is {weight:g}"):
        plan(1.0, weight, 1.0)


def test_the_hash_covers_ratios_of_weights_and_the_claim_which_has_its_share_of_alpha():
    plans = [plan(), plan(1.0, 2.0, 1.0), plan(2.0, 1.0, 1.0), plan(claim=1), plan(claim=2), plan(watch=True)]
    plans.append(plan(alpha=0.025))  # what claim 1 spends, but a different plan
    assert all(one.hash != other.hash for one, other in combinations(plans, 2))
    assert plan(0.3, 0.3, 0.3).hash == plan().hash == plan(claim=0).hash
    assert plan(0.5, 1.0, 0.5).hash == plan(1.0, 2.0, 1.0).hash
    assert plan(1.0, 2.0, 1.0).order == plan().order
    given = {claim: plan(claim=claim) for claim in range(4)}
    assert [given[claim].alpha for claim in range(4)] == pytest.approx([0.05, 0.05 / 2, 0.05 / 6, 0.05 / 12])
    assert {variant.alpha_total for variant in given.values()} == {0.05}
    assert (plan(watch=True).alpha, plan(watch=True).watch, plan(watch=True).claim) == (0.05, True, 0)


@pytest.mark.parametrize(
    ("options", "said"), [({"claim": -1}, "claim is -1"), ({"claim": 2, "watch": True}, "watch is set")]
)
def test_no_claim_that_is_none(options, said):
    with pytest.raises(BadInput, match=said):
        plan(**options)


SIZES = {"sure": 500, "unsure": 1000, "guessed": 317, "small": 60}
SHARES = {"sure": 0.9, "unsure": 0.34, "guessed": 0.25, "small": 0.9}


def sampled_suite(seed: int) -> tuple[list[TaskPlan], list[Item], dict[tuple[str, str], float]]:
    """Return tasks with four choices and the base's accuracy on each: by hash, so that every sample is about alike."""
    draw = random.Random(seed)
    items = [Item(name, str(number)) for name, size in SIZES.items() for number in range(size)]
    base = {item.key: float(draw.random() < SHARES[item.task]) for item in items}
    return [TaskPlan(name, "acc", 0.25) for name in SIZES], items, base


def test_the_base_is_scored_only_until_it_is_measurable():
    tasks, items, base = sampled_suite(5)
    sample = sample_stages(items, 100, seed=3)
    out = [("sure", "7")]
    scored: dict[tuple[str, str], float] = {}
    rounds = []
    while missing := [item for item in sampled(tasks, scored, sample, out) if item.key not in scored]:
        scored |= {item.key: base[item.key] for item in missing}
        rounds.append(Counter(item.task for item in missing))
    first = len([item for item in sample["sure"][0] if item.item != "7"])
    assert rounds[0] == {"sure": first, "unsure": 100, "guessed": 100, "small": 60}
    assert all(set(later) <= {"unsure", "guessed"} for later in rounds[1:])
    seen = Counter(task for task, _ in scored)
    assert seen["guessed"] == 317, "what never is measurable is scored whole"
    assert 100 < seen["unsure"] < 1000
    options: Any = {"seed": 3, "cap": None, "excluded": out}
    few, every = (make_plan(tasks, items, known, sample=sample, **options) for known in (scored, base))
    assert few == every, "what else is known of the base has no say"
    assert [task.name for task in few.tasks] == ["sure", "unsure", "small"]
    assert [(task.task, task.items) for task in few.unmeasurable] == [("guessed", 317)]
    whole = make_plan(tasks, items, base, **options)
    assert whole.order == few.order and whole.hash != few.hash
    with pytest.raises(BadInput, match="has no base score"):
        make_plan(tasks, items, scored, **options)
    with pytest.raises(BadInput, match="has no base score"):
        make_plan(tasks, items, dict(list(scored.items())[:-1]), sample=sample, **options)


def test_what_is_measurable_on_all_items_is_never_left_out_by_a_sample():
    for seed in range(12):
        tasks, items, base = sampled_suite(seed)
        whole = make_plan(tasks, items, base, seed=seed, cap=None)
        few = make_plan(tasks, items, base, seed=seed, cap=None, sample=sample_stages(items, 100, seed))
        assert {task.name for task in whole.tasks} <= {task.name for task in few.tasks}


@pytest.mark.slow
def test_wrong_verdicts_stay_below_alpha_where_a_sample_chooses_the_tasks():
    # Two tasks that a sample admits about every other time. Only right answers can be lost, so a sample that
    # depended on the order would reveal the first losses.
    right, alpha, streams = {"a": 120, "b": 55, "c": 55}, 0.3, 120
    items = [Item(name, str(number)) for name in right for number in range(160)]
    numbers = {item.key: int(item.item) for item in items}
    base = {key: float(number < right[key[0]]) for key, number in numbers.items()}
    tasks = [TaskPlan(name, "acc", 0.25) for name in right]
    tuned = {}
    for lost in (4, 5):  # of 160 items: just under the margin, and just over it
        gone, come = {*range(lost + 10)}, {*range(150, 160)}  # ten flips cancel
        scores = {key: 0.0 if at in gone else 1.0 if at in come else base[key] for key, at in numbers.items()}
        tuned["regressed" if lost == 5 else "ok"] = scores
    wrong = dict.fromkeys(tuned, 0)
    let_in: set[int] = set()
    for seed in range(streams):
        sample = sample_stages(items, 100, seed)
        chosen = make_plan(tasks, items, base, seed=seed, cap=None, alpha=alpha, look_items=16, sample=sample)
        let_in.add(len(chosen.tasks))
        for truth, scores in tuned.items():
            check = begin(chosen)
            while (look := next_items(check)) and not (check.pool and check.pool.decision):
                check = feed(check, base, {item.key: scores[item.key] for item in look})
            assert check.pool is not None
            wrong[truth] += check.pool.decision not in (None, truth)
    assert len(let_in) > 1, "the sample chose nothing"
    assert max(wrong.values()) <= streams * (alpha + 3 * (alpha * (1 - alpha) / streams) ** 0.5)
    assert wrong["regressed"] > 0, "no order was ever wrong: the bound was not tried"
