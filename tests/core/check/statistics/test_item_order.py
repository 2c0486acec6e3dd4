from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from finetop.core.check.statistics.item_order import (
    Item,
    cap_items,
    clusters_of,
    first_look,
    hash_plan,
    looks_of,
    permute,
    sample_stages,
)
from finetop.core.errors import BadInput


def suite(tasks: dict[str, int], cluster_size: int = 1) -> list[Item]:
    return [
        Item(task, f"{number}", f"{number // cluster_size}" if cluster_size > 1 else "")
        for task, size in tasks.items()
        for number in range(size)
    ]


def test_order_is_fixed_for_ever_and_does_not_depend_on_the_order_given():
    # A changed order would orphan every stored plan: this literal changes only with PLAN_VERSION.
    order = permute(suite({"arith": 4, "blimp": 3}), seed=1)
    assert [(item.task, item.item) for item in order] == [
        ("arith", "0"), ("arith", "2"), ("blimp", "2"), ("blimp", "1"),
        ("arith", "3"), ("blimp", "0"), ("arith", "1"),
    ]  # fmt: skip
    items = suite({"a": 40, "b": 30}, cluster_size=3)
    shuffled = random.Random(5).sample(items, len(items))
    assert permute(items, 7) == permute(shuffled, 7)
    assert cap_items(items, 10, 7) == cap_items(shuffled, 10, 7)
    assert permute(items, 7) != permute(items, 8)


@settings(deadline=None)
@given(st.integers(0, 2**40), st.integers(1, 7), st.integers(1, 90))
def test_permutation_keeps_every_item_and_every_cluster_whole(seed, cluster_size, items):
    given_items = suite({"a": items, "b": 20}, cluster_size)
    order = permute(given_items, seed)
    assert sorted(order) == sorted(given_items)
    groups = [cluster[0].group for cluster in clusters_of(order)]
    assert len(groups) == len(set(groups))


def test_every_item_is_as_likely_first_as_any_other_also_after_a_cap():
    items = suite({"a": 2, "b": 4})
    first = Counter(permute(items, seed)[0].key for seed in range(6000))
    # 1000 each is expected, with a standard deviation of 29.
    assert all(abs(count - 1000) < 130 for count in first.values()), first
    # One hash for cap and order would put the items of the task cut from 5,000 first.
    items = cap_items(suite({"large": 5000, "small": 100}), 100, seed=3)
    half = Counter(item.task for item in permute(items, seed=3)[:100])
    assert 30 < half["large"] < 70


def test_cap_is_equal_and_nested_and_takes_whole_clusters():
    items = suite({"a": 500, "b": 80, "c": 300})
    small, large = cap_items(items, 50, 1), cap_items(items, 200, 1)
    assert Counter(item.task for item in small) == {"a": 50, "b": 50, "c": 50}
    assert Counter(item.task for item in large) == {"a": 200, "b": 80, "c": 200}
    assert set(small) <= set(large)
    assert set(cap_items(items, None, 1)) == set(items)
    capped = cap_items(suite({"a": 90}, cluster_size=4), 30, seed=2)
    sizes = Counter(item.cluster for item in capped)
    assert 26 < len(capped) <= 30
    assert all(size == 4 or cluster == "22" for cluster, size in sizes.items())
    assert len(cap_items(suite({"a": 12}, cluster_size=12), 5, seed=2)) == 12


@pytest.mark.parametrize(
    ("size", "parts"),
    [(1, [1]), (100, [100]), (150, [150]), (151, [100, 51]), (317, [100, 100, 117]), (500, [100, 100, 300]),
     (1000, [100, 100, 200, 600]), (1201, [100, 100, 200, 400, 401])],
)  # fmt: skip
def test_a_sample_doubles_until_little_is_left(size, parts):
    items = suite({"a": size, "b": 7})
    stages = sample_stages(items, 100, 1)
    assert [len(part) for part in stages["a"]] == parts
    assert sorted(item for part in stages["a"] for item in part) == sorted(items[:size])
    assert [len(part) for part in stages["b"]] == [7]
    assert sample_stages(items[::-1], 100, 1) == stages
    assert sample_stages(items, 100, 2) != stages or size <= 150


def test_a_sample_takes_whole_clusters_and_the_first_look_leaves_the_rest_unread():
    stages = sample_stages(suite({"a": 400}, cluster_size=7), 100, 1)
    groups = [{item.group for item in part} for part in stages["a"]]
    assert len(stages["a"][0]) in range(100, 107)
    assert all(not group & other for group, other in pairwise(groups))
    clusters = iter(clusters_of(permute(suite({"a": 100}, 3), 1)))
    assert 10 <= len(first_look(clusters, 10)) < 13
    assert sum(len(cluster) for cluster in clusters) > 85


def test_a_sample_says_nothing_of_cap_and_order():
    # Of the 100 items sampled first, a fifth should be among the first fifth of the order: 20, standard deviation 3.6.
    within_order, within_cap, items = [], [], suite({"a": 500})
    for seed in range(60):
        first = set(sample_stages(items, 100, seed)["a"][0])
        within_order.append(len(first & set(permute(items, seed)[:100])))
        within_cap.append(len(first & set(cap_items(items, 100, seed))))
    for shared in (within_order, within_cap):
        assert abs(sum(shared) / 60 - 20) < 3 * 3.6 / 60**0.5
        assert max(shared) < 40


def test_leaving_items_do_not_move_others_and_no_item_is_in_another_s_cluster_or_comes_twice():
    items = suite({"a": 40, "b": 40, "c": 40})
    without_b = [item for item in permute(items, 4) if item.task != "b"]
    assert list(permute([item for item in items if item.task != "b"], 4)) == without_b
    items = [Item("a", "1", "2"), Item("a", "2"), Item("a", "3", "2")]
    assert sorted(len(cluster) for cluster in clusters_of(permute(items, 1))) == [1, 2]
    with pytest.raises(BadInput, match="a: item 1 comes twice"):
        permute([Item("a", "1"), Item("a", "1", "x")], 1)
    with pytest.raises(BadInput, match="cap is 0"):
        cap_items([], 0, 1)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 40))
def test_looks_never_cut_a_cluster(cluster_size, look_items):
    order = permute(suite({"a": 100, "b": 60}, cluster_size), 1)
    looks = looks_of(clusters_of(order), look_items)
    assert tuple(item for look in looks for item in look) == order
    assert all(look_items <= len(look) < look_items + cluster_size for look in looks[:-1])
    assert all(before[-1].group != after[0].group for before, after in pairwise(looks))


PLAN = {
    "margin": 0.03,
    "alpha": 0.05,
    "metrics": [("b", "acc", 0.25), ("a", "exact_match", 0.0)],
    "cap": 100,
    "seed": 1,
    "look_items": 64,
    "order": permute(suite({"a": 3, "b": 3}), 1),
    "excluded": [("a", "9"), ("a", "7")],
}


def test_hash_is_fixed_for_ever_and_ignores_the_order_of_tasks_and_exclusions():
    turned = {"metrics": PLAN["metrics"][::-1], "excluded": PLAN["excluded"][::-1]}
    # Equal weights and the only claim leave it as it was.
    for same in ({}, turned, {"weights": {"a": 1, "b": 1}, "claim": 0, "watch": False}):
        wanted = "b18dc7c63aa6675fe1caa41d53135adbce258687631813db4c0136a48e7c07be"
        assert hash_plan(**{**PLAN, **same}) == wanted


@pytest.mark.parametrize(
    "change",
    [
        {"margin": 0.02}, {"alpha": 0.01}, {"cap": None}, {"seed": 2}, {"look_items": 32},
        {"metrics": [("b", "acc_norm", 0.25), ("a", "exact_match", 0.0)]},
        {"metrics": [("b", "acc", 0.5), ("a", "exact_match", 0.0)]},
        {"order": permute(suite({"a": 3, "b": 2}), 1)}, {"order": permute(suite({"a": 3, "b": 3}), 1)[::-1]},
        {"excluded": []}, {"weights": {"a": 1, "b": 2}}, {"claim": 1}, {"watch": True},
        {"sample": {"a": [[Item("a", "1")]]}},
    ],
)  # fmt: skip
def test_hash_covers_everything(change):
    assert hash_plan(**{**PLAN, **change}) != hash_plan(**PLAN)
