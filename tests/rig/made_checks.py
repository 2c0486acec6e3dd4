"""Checks of made-up items: suites and their plans, answers, pairs, and checks that are run to their end."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from finetop.core.check.statistics.conclude import check_pairs
from finetop.core.check.statistics.item_order import Item, Key
from finetop.core.check.statistics.plan import make_plan
from finetop.core.check.statistics.sequential import Check, feed, next_items
from finetop.core.check.statistics.verdict import CheckPlan, PairedItem, TaskPlan

Scores = dict[Key, float]


def suite(*sizes: int) -> list[Item]:
    """Return single items: so many of the task t0, of t1, …"""
    return [Item(f"t{task}", f"{number:03}") for task, size in enumerate(sizes) for number in range(size)]


def plan_of(items: Sequence[Item], weights: Sequence[float] = (1.0,), **standing: Any) -> CheckPlan:
    """Plan a check of t0, t1, … with these weights, on a base that answers all right."""
    tasks = [TaskPlan(f"t{place}", "acc", 0.0, weight) for place, weight in enumerate(weights)]
    return make_plan(tasks, items, {item.key: 1.0 for item in items}, seed=1, cap=None, **standing)


def pairs_of(items: Sequence[Item], base: Scores, tuned: Scores) -> list[PairedItem]:
    return [PairedItem(item.task, item.item, item.cluster, base[item.key], tuned[item.key]) for item in items]


def answers(
    items: Sequence[Item], lost: dict[str, float], flips: float, draw: random.Random
) -> tuple[Scores, Scores]:
    """Draw fresh answers: in each task an extra share `lost` is lost, on top of the flips both ways."""
    base: Scores = {}
    tuned: Scores = {}
    for item in items:
        u = draw.random()
        falls = lost.get(item.task, 0.0) + flips / 2
        base[item.key], tuned[item.key] = (
            (1.0, 0.0) if u < falls else (0.0, 1.0) if u > 1 - flips / 2 else (1.0, 1.0)
        )
    return base, tuned


def run(check: Check, base: Scores, tuned: Scores) -> Check:
    """Feed a check all that it asks for."""
    while look := next_items(check):
        check = feed(check, base, {item.key: tuned[item.key] for item in look})
    return check


def checked(
    lost: dict[str, int],
    until: Any = "decided",
    weights: tuple[float, ...] = (1.0, 1.0, 1.0),
    **standing: Any,
) -> dict[str, Any]:
    """Return the result of three tasks of 200 items with so many lost; `guesses` is at chance, and is left out."""
    names = ("arith", "knowledge", "guesses")
    items = [Item(task, str(number)) for task in names for number in range(200)]
    base = {item.key: float(item.task != "guesses" or int(item.item) % 4 == 0) for item in items}
    plans = [TaskPlan(task, "acc", 0.25, weight) for task, weight in zip(names, weights, strict=True)]
    plan = make_plan(plans, items, base, seed=1, cap=None, **standing)
    tuned = {
        item.key: 0.0 if int(item.item) < lost.get(item.task, 0) else base[item.key] for item in plan.order
    }
    result: dict[str, Any] = msgspec.to_builtins(
        check_pairs(plan, pairs_of(plan.order, base, tuned), until=until)
    )
    return {**result, "suite": "quick", "step": 120}
