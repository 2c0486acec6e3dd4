"""Simulate checks of suites of any size: is an unchanged model called REGRESSED, and a real drop caught?

    python tests/bench/small_suites.py [--streams 4000] [--whole 400] [--seed 1]

Prints Markdown tables. "before" is the pool test alone, which answers for the suite's own items; "now" is the check's
verdict, with looks every 64 items, stopped as soon as it may. Every stream draws fresh answers. The first two tables
are for one task of single binary items, for all streams at once (compared with the check itself on some of them); the
third runs whole checks, as many as --whole sets. Exits 1 if an unchanged model is REGRESSED in more than 5 % of the
streams of a cell by more than the Monte-Carlo error, all cells considered.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import bench
import numpy as np
from simulation.streams import ALPHA, LOOK_ITEMS, STREAMS_AT_ONCE, join, run_differences, surely_above

from finetop.core.check.statistics.conclude import check_pairs
from finetop.core.check.statistics.item_order import Item
from finetop.core.check.statistics.plan import make_plan
from finetop.core.check.statistics.verdict import PairedItem, TaskPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from simulation.streams import Ints, Runs

    Floats = NDArray[np.float64]
    Pair = tuple[Floats, Floats]

ITEMS = (50, 100, 200, 400, 672, 1000, 2000)
FLIPS = (0.0, 0.02, 0.05, 0.10, 0.20)
DROPS = (0.03, 0.06, 0.09, 0.12)  # one to four margins
WON = 0.02


def streams_of(
    lost: float, won: float, items: int, streams: int, random: np.random.Generator
) -> Iterator[Ints]:
    """Yield fresh answers of single items, each lost or won with these probabilities, some streams at a time."""
    for start in range(0, streams, STREAMS_AT_ONCE):
        drawn = random.random((min(STREAMS_AT_ONCE, streams - start), items))
        yield (drawn > 1 - won).astype(np.int64) - (drawn < lost)


def both(lost: float, won: float, items: int, streams: int, random: np.random.Generator) -> tuple[Runs, Runs]:
    """Run the same streams as they were checked before and as they are now."""
    before, now = [], []
    for sums in streams_of(lost, won, items, streams, random):
        ones = np.ones_like(sums)
        before.append(run_differences(sums, ones, ones, LOOK_ITEMS))
        now.append(run_differences(sums, ones, ones, LOOK_ITEMS, ability=True))
    return join(before), join(now)


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def unchanged(streams: int, random: np.random.Generator) -> bool:
    print("REGRESSED of an unchanged model, % (before / now)\n")
    print("| items | " + " | ".join(f"{100 * flips:g} % flips" for flips in FLIPS) + " |")
    print("|--:|" + "--:|" * len(FLIPS))
    worst, failed, cells = 0.0, False, len(ITEMS) * len(FLIPS)
    for items in ITEMS:
        row = []
        for flips in FLIPS:
            before, now = both(flips / 2, flips / 2, items, streams, random)
            worst = max(worst, float(now.regressed.mean()))
            failed |= surely_above(int(now.regressed.sum()), streams, ALPHA, cells)
            row.append(f"{percent(before.regressed.mean())} / {percent(now.regressed.mean())}")
        print(f"| {items:,} | " + " | ".join(row) + " |", flush=True)
    error = (worst * (1 - worst) / streams) ** 0.5
    print(f"\nworst cell now {percent(worst)} %, its standard error {percent(error)} points\n")
    return failed


def caught(streams: int, random: np.random.Generator) -> None:
    print(f"REGRESSED of a real drop, {100 * WON:g} % of the items won, % (before / now)\n")
    print(
        "| items | " + " | ".join(f"{100 * drop:g} points" for drop in DROPS) + " | items asked at 9 points |"
    )
    print("|--:|" + "--:|" * (len(DROPS) + 1))
    for items in ITEMS:
        row, mean_items = [], ""
        for drop in DROPS:
            before, now = both(drop + WON, WON, items, streams, random)
            row.append(f"{percent(before.regressed.mean())} / {percent(now.regressed.mean())}")
            if drop == DROPS[2]:
                mean_items = f"{before.used.mean():,.0f} / {now.used.mean():,.0f}"
        print(f"| {items:,} | " + " | ".join(row) + f" | {mean_items} |", flush=True)
    print()


def single(random: np.random.Generator, items: int, flips: float = 0.1, drop: float = 0.0) -> Pair:
    """Binary answers; each flip a fair coin's, except for the drop."""
    drawn = random.random(items)
    lost, won = drawn < flips / 2 + drop, drawn > 1 - flips / 2
    right = random.random(items) < 0.7
    return (lost | (right & ~won)).astype(float), (won | (right & ~lost)).astype(float)


def whole_clusters(random: np.random.Generator, items: int, drop: float = 0.0) -> Pair:
    """Clusters of five that flip whole."""
    base, tuned = single(random, items // 5, 0.1, drop)
    return np.repeat(base, 5), np.repeat(tuned, 5)


def graded(random: np.random.Generator, items: int, drop: float = 0.0) -> Pair:
    """Scores that move up or down by tenths on half of the items."""
    base = random.integers(4, 8, items) / 10
    moved = random.integers(-3, 4, items) * (random.random(items) < 0.5) / 10
    fell = random.random(items) < drop / 0.4
    return base, np.round(np.where(fell, base - 0.4, base + moved), 1)


def skewed(random: np.random.Generator, items: int, drop: float = 0.0) -> Pair:
    """Scores that fall by a tenth on most items and rise by nine on one in ten: changed, with the same mean."""
    up = random.random(items) < 0.1 - drop
    return np.where(up, 0.1, 0.6), np.where(up, 1.0, 0.5)


WHOLE: tuple[tuple[str, Callable[..., Pair], tuple[float, ...], int], ...] = (
    ("single items, one task", single, (1.0,), 1),
    ("single items, 7 tasks", single, (1.0,) * 7, 1),
    ("weights 1 to 5", single, (1.0, 2.0, 3.0, 4.0, 5.0), 1),
    ("clusters of 5", whole_clusters, (1.0,), 5),
    ("scores in tenths", graded, (1.0,), 1),
    ("many small losses, few large wins", skewed, (1.0,), 1),
)


def whole_check(
    answers: Callable[..., Pair],
    weights: tuple[float, ...],
    cluster: int,
    items: int,
    drop: float,
    random: np.random.Generator,
) -> str:
    """Check one stream as a user's check would be, stopped as soon as it may."""
    base, tuned = answers(random, items, drop=drop)
    tasks = [TaskPlan(f"t{place}", "score", 0.0, weight) for place, weight in enumerate(weights)]
    every = [
        Item(f"t{number % len(weights)}", f"{number:04}", str(number // cluster) if cluster > 1 else "")
        for number in range(items)
    ]
    pairs = [
        PairedItem(item.task, item.item, item.cluster, float(before), float(after))
        for item, before, after in zip(every, base, tuned, strict=True)
    ]
    measurable = {item.key: 1.0 for item in every}
    plan = make_plan(tasks, every, measurable, seed=int(random.integers(2**31)), cap=None)
    return check_pairs(plan, pairs, until="decided").verdict


def whole_checks(streams: int, random: np.random.Generator) -> bool:
    print(f"whole checks, {streams:,} a cell: REGRESSED, %\n")
    print("| suite | items | no change | 6 points | 9 points |\n|:--|--:|--:|--:|--:|")
    failed = False
    for name, answers, weights, cluster in WHOLE:
        for items in (100, 200, 400):
            row = []
            for drop in (0.0, 0.06, 0.09):
                found = [
                    whole_check(answers, weights, cluster, items, drop, random) == "regressed"
                    for _ in range(streams)
                ]
                row.append(percent(sum(found) / streams))
                if not drop:
                    failed |= surely_above(sum(found), streams, ALPHA, 3 * len(WHOLE))
            print(f"| {name} | {items} | " + " | ".join(row) + " |", flush=True)
    print()
    return failed


def agrees(random: np.random.Generator, streams: int = 60) -> float:
    """Return the share of streams in which the simulation agrees with the check itself."""
    same = 0
    for number in range(streams):
        items, drop = (100, 200, 400)[number % 3], (0.0, 0.04, 0.08)[number // 3 % 3]
        (sums,) = streams_of(drop + 0.05, 0.05, items, 1, random)
        every = [Item("t", f"{place:04}") for place in range(items)]
        plan = make_plan(
            [TaskPlan("t", "acc", 0.0)], every, {i.key: 1.0 for i in every}, seed=number, cap=None
        )
        pairs = [
            PairedItem("t", item.item, "", float(change <= 0), float(change >= 0))
            for item, change in zip(plan.order, sums[0], strict=True)
        ]
        result = check_pairs(plan, pairs, until="decided")
        ones = np.ones_like(sums)
        run = run_differences(sums, ones, ones, LOOK_ITEMS, ability=True)
        simulated = "regressed" if run.regressed[0] else "ok" if run.ok[0] else "no_verdict"
        same += (result.verdict, result.items_used) == (simulated, int(run.used[0]))
    return same / streams


def main() -> int:
    options = bench.options(__doc__, streams=4000, whole=(400, "whole checks a cell; 0 for none"), seed=1)
    began, random = time.process_time(), np.random.default_rng(options.seed)
    same = agrees(random)
    print(
        f"{options.streams:,} streams a cell, margin 3 points, alpha {ALPHA};"
        f" the check itself says the same in {100 * same:.0f} %\n"
    )
    if same < 0.95:
        return 1
    failed = unchanged(options.streams, random)
    caught(options.streams, random)
    if options.whole:
        failed |= whole_checks(options.whole, random)
    print(f"{time.process_time() - began:.0f} s of CPU")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
