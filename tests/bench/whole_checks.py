"""Simulate whole checks through the driver: is a collapsed task found and named, is any task called lost for nothing?

    python tests/bench/whole_checks.py [--streams 2000] [--seed 1]

Every stream draws fresh answers and a fresh order, and feeds look after look to core/check/statistics/sequential.py
until it asks for no more, as a check of models does. "wrong" is a stream with a false statement: the pool's answer
about all items, or a task marked lost whose ability did not fall; allowed in alpha of the streams, "for nothing" (only
the second) in alpha/2. "named" is a stream that is REGRESSED and marks the collapsed task lost. An unseen collapse is
no false statement but a lack of power, shown by 1 - "REGRESSED". Exits 1 if a rate of false statements is above the
allowed one by more than the Monte-Carlo error, or a single collapse of 40 points is missed in more than 2 streams of
100 or not named in more than 3.
"""

from __future__ import annotations

import random as random_orders
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bench
import msgspec
import numpy as np
from simulation.streams import ALPHA, MARGIN_PERCENT, bounds, surely_above

from finetop.core.check.statistics import sequential
from finetop.core.check.statistics.item_order import Item, clusters_of
from finetop.core.check.statistics.plan import make_plan, whole_weights
from finetop.core.check.statistics.verdict import CheckPlan, TaskPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.check.statistics.item_order import Cluster, Key

COLLAPSE = 0.40  # a loss of one task that must be found and named


@dataclass(frozen=True)
class Case:
    """Tasks of a suite: items, weight, cluster size (clusters flip whole), chance of a loss on top of the flips."""

    name: str
    items: tuple[int, ...]
    drops: tuple[float, ...]
    flips: float = 0.10
    weights: tuple[float, ...] = ()
    cluster_sizes: tuple[int, ...] = ()

    @property
    def fallen(self) -> set[str]:
        return {f"task {place}" for place, drop in enumerate(self.drops) if drop > 0}


def one_of(drop: float, tasks: int = 7) -> tuple[float, ...]:
    return (drop, *[0.0] * (tasks - 1))


SEVEN = (100,) * 7
UNEQUAL = (60, 400, 200, 150, 100)
CASES = (
    Case("unchanged, flips .05", SEVEN, one_of(0.0), flips=0.05),
    Case("unchanged, flips .10", SEVEN, one_of(0.0)),
    Case("unchanged, flips .20", SEVEN, one_of(0.0), flips=0.20),
    Case("one of 7 loses 10 points", SEVEN, one_of(0.10)),
    Case("one of 7 loses 20 points", SEVEN, one_of(0.20)),
    Case("one of 7 loses 40 points", SEVEN, one_of(0.40)),
    Case("the same 10, no other flip", SEVEN, one_of(0.10), flips=0.0),
    Case("the same 20, no other flip", SEVEN, one_of(0.20), flips=0.0),
    Case("the same 40, no other flip", SEVEN, one_of(0.40), flips=0.0),
    Case("60 of 910 items lose 40", UNEQUAL, one_of(0.40, 5)),
    Case("weights 1 to 5, lightest 40", (100,) * 5, one_of(0.40, 5), weights=(1, 2, 3, 4, 5)),
    Case("beside clusters of 5, 40", (100,) * 5, one_of(0.40, 5), cluster_sizes=(1, 1, 1, 5, 5)),
    Case("all lose 5 points", SEVEN, (0.05,) * 7),
    Case("all lose 10 points", SEVEN, (0.10,) * 7),
    Case("all lose 40 points", SEVEN, (0.40,) * 7),
    Case("all lose 2, every flip a loss", SEVEN, (0.02,) * 7, flips=0.0),
)


@dataclass(frozen=True)
class Answer:
    """The answer of a stream, and whether it was true."""

    regressed: bool
    named: bool
    wrong: bool
    for_nothing: bool
    by_task: bool
    scored: int


class Streams:
    """Fresh answers and orders of one case's suite, each fed through the driver."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case = case
        self.random, self.shuffler = np.random.default_rng(seed), random_orders.Random(seed)
        weights, sizes = (
            case.weights or (1.0,) * len(case.items),
            case.cluster_sizes or (1,) * len(case.items),
        )
        self.tasks = [
            TaskPlan(f"task {place}", "exact_match", 0.0, weight) for place, weight in enumerate(weights)
        ]
        self.weights = whole_weights(self.tasks)
        every = [
            Item(f"task {place}", str(number), str(number // size) if size > 1 else "")
            for place, (items, size) in enumerate(zip(case.items, sizes, strict=True))
            for number in range(items)
        ]
        right = {item.key: 1.0 for item in every}
        self.plan: CheckPlan = make_plan(self.tasks, every, right, seed=seed, cap=None)
        self.clusters: list[Cluster] = list(clusters_of(self.plan.order))
        drops = dict(zip((task.name for task in self.tasks), case.drops, strict=True))
        self.lost = np.array(
            [
                max(case.flips - drops[cluster[0].task], 0) / 2 + drops[cluster[0].task]
                for cluster in self.clusters
            ]
        )
        self.won = np.array([max(case.flips - drops[cluster[0].task], 0) / 2 for cluster in self.clusters])

    def answers(self) -> tuple[dict[Key, float], dict[Key, float]]:
        """Draw base and tuned scores: lost, won, or right on both sides in 70 of 100 cases."""
        u = self.random.random(len(self.clusters))
        lost, won = u < self.lost, u > 1 - self.won
        same = self.random.random(len(self.clusters)) < 0.7
        before, after = (lost | (same & ~won)).tolist(), (won | (same & ~lost)).tolist()
        base = {
            item.key: float(b) for cluster, b in zip(self.clusters, before, strict=True) for item in cluster
        }
        tuned = {
            item.key: float(a) for cluster, a in zip(self.clusters, after, strict=True) for item in cluster
        }
        return base, tuned

    def run(self) -> Answer:
        base, tuned = self.answers()
        order: Sequence[Cluster] = self.shuffler.sample(self.clusters, len(self.clusters))
        plan = msgspec.structs.replace(self.plan, order=tuple(item for cluster in order for item in cluster))
        check = sequential.begin(plan)
        while look := sequential.next_items(check):
            check = sequential.feed(check, base, {item.key: tuned[item.key] for item in look})
        return self.judge(check, base, tuned)

    def judge(self, check: sequential.Check, base: dict[Key, float], tuned: dict[Key, float]) -> Answer:
        verdict = sequential.verdict_so_far(check)
        decision = sequential.pool_decision(check)
        may_be_chance = sequential.all_asked(check) and check.pool is not None and not check.fell
        lost = {name for name, task in check.tasks.items() if task.mark == "lost"}
        change = sum(self.weights[key[0]] * int(tuned[key] - base[key]) for key in base)
        size = sum(self.weights[key[0]] for key in base)
        truth = "regressed" if -100 * change >= MARGIN_PERCENT * size else "ok"
        says = decision is not None and (decision == "regressed" or verdict == "ok")
        for_nothing = bool(lost - self.case.fallen)
        return Answer(
            regressed=verdict == "regressed",
            named=verdict == "regressed" and "task 0" in lost,
            wrong=for_nothing or (says and decision != truth) or (verdict is None and not may_be_chance),
            for_nothing=for_nothing,
            by_task=verdict == "regressed" and decision != "regressed",
            scored=len(check.tuned),
        )


def main() -> int:
    options = bench.options(__doc__, streams=2000, seed=1)
    began, failed, streams = time.process_time(), False, options.streams
    print(f"{streams:,} streams a cell, margin {MARGIN_PERCENT}.0 points, alpha {ALPHA}; shares of streams\n")
    print(
        f"{'whole check':30} {'N':>4} {'REGRESSED':>9} {'named':>7} {'by task':>7} {'for nothing':>18}"
        f" {'wrong':>17} {'scored':>7}"
    )
    for place, case in enumerate(CASES):
        told = Streams(case, options.seed + place)
        every = [told.run() for _ in range(streams)]
        wrong, nothing = sum(stream.wrong for stream in every), sum(stream.for_nothing for stream in every)
        regressed, named = (
            sum(stream.regressed for stream in every) / streams,
            sum(stream.named for stream in every) / streams,
        )
        failed |= surely_above(wrong, streams, ALPHA) or surely_above(nothing, streams, ALPHA / 2)
        one_fell = len(case.fallen) == 1
        if one_fell and max(case.drops) >= COLLAPSE:
            failed |= regressed < 0.98 or named < 0.97
        print(
            f"{case.name:30} {sum(case.items):4} {regressed:9.4f} {f'{named:7.4f}' if one_fell else '      -'}"
            f" {sum(stream.by_task for stream in every) / streams:7.4f}"
            f" {nothing / streams:8.4f} <= {bounds(nothing, streams)[1]:.4f}"
            f" {wrong / streams:7.4f} <= {bounds(wrong, streams)[1]:.4f}"
            f" {sum(stream.scored for stream in every) / streams:7,.0f}",
            flush=True,
        )
    print(f"\n{time.process_time() - began:.0f} s of CPU")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
