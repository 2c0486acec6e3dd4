"""Simulate the pool test and the whole check: how often a verdict is wrong, and how many items it takes.

    python tests/bench/betting_errors.py [--streams 2000] [--seed 1]

Every cell fixes a suite (N items, so many lost and won) and draws its permutation anew in every stream. The
pool test is run as the check runs it: REGRESSED at alpha/2, OK at alpha, a look every 64 items. "design" is
the mean of items in the design's table (discordance 0.10, looks of 16, REGRESSED at alpha). The bound is the
upper end of a 95 % Clopper-Pearson interval. Exits 1 where a wrong rate is above alpha by more than
Monte-Carlo error.
"""

from __future__ import annotations

import argparse
import sys
import time
from math import log
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import beta

from finetop.core.check.betting import BETS, log_growth, log_mean_exp
from finetop.core.check.conclusion import judge_pairs
from finetop.core.check.permutation import Item
from finetop.core.check.planning import make_plan
from finetop.core.check.verdict import PairedItem, TaskPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

ALPHA = 0.05
MARGIN_PERCENT = 3
ITEMS = (300, 600, 1000, 3000)
DISCORDANCE = (0.05, 0.10, 0.20)
DROPS = (0.0, 0.01, 0.02, 0.028, 0.031, 0.04, 0.05, 0.10)
DESIGN_ITEMS = {
    600: {0.0: 360, 0.01: 465, 0.02: 556, 0.028: 584, 0.031: 594, 0.05: 430, 0.10: 124},
    1000: {0.0: 449, 0.01: 655, 0.02: 872, 0.028: 983, 0.031: 964, 0.05: 640, 0.10: 132},
    3000: {0.0: 662, 0.01: 1129, 0.02: 2102, 0.028: 2873, 0.031: 2903, 0.05: 1032, 0.10: 142},
}
DESIGN_ABILITY = {
    (300, 0.0): 7.0,
    (600, 0.0): 2.3,
    (1000, 0.0): 0.3,
    (300, 0.05): 88,
    (600, 0.05): 94,
    (1000, 0.05): 99.7,
}


def run_streams(
    sums: Ints, sizes: Ints, look_items: int = 64, alpha_regressed: float = ALPHA / 2
) -> tuple[Bools, Ints]:
    """Run the pool test over many streams of one suite at once.

    sums and sizes [streams, clusters] in drawn order -> (REGRESSED?, items used), each [streams].
    """
    streams, clusters = sums.shape
    items = int(sizes[0].sum())
    largest = int(sizes.max())
    look = max(1, round(look_items * clusters / items))
    regressed = np.zeros(streams, dtype=bool)
    used = np.zeros(streams, dtype=np.int64)
    live = np.arange(streams)
    total = np.zeros(streams, dtype=np.int64)
    drawn = np.zeros(streams, dtype=np.int64)
    log_regressed, log_ok = np.zeros((len(BETS), streams)), np.zeros((len(BETS), streams))
    for start in range(0, clusters, look):
        now = sums[live, start : start + look]
        grown = log_growth(
            now / largest, total / largest, MARGIN_PERCENT * items / 100 / largest, clusters - start
        )
        log_regressed, log_ok = log_regressed + grown[0], log_ok + grown[1]
        total, drawn = total + now.sum(axis=1), drawn + sizes[live, start : start + look].sum(axis=1)
        left = items - drawn
        surely_regressed = -100 * (total + left) >= MARGIN_PERCENT * items
        surely_ok = -100 * (total - left) < MARGIN_PERCENT * items
        says_regressed = surely_regressed | (
            ~surely_ok & (log_mean_exp(log_regressed.T) >= -log(alpha_regressed))
        )
        says_ok = surely_ok | (~says_regressed & (log_mean_exp(log_ok.T) >= -log(ALPHA)))
        done = says_regressed | says_ok
        regressed[live[done]], used[live[done]] = says_regressed[done], drawn[done]
        go_on = ~done
        live, total, drawn = live[go_on], total[go_on], drawn[go_on]
        log_regressed, log_ok = log_regressed[:, go_on], log_ok[:, go_on]
        if not live.size:
            break
    return regressed, used


def permute_streams(sums: Ints, sizes: Ints, streams: int, random: np.random.Generator) -> tuple[Ints, Ints]:
    order = random.permuted(np.tile(np.arange(len(sums)), (streams, 1)), axis=1)
    return sums[order], sizes[order]


def upper_bound(wrong: int, streams: int) -> float:
    return float(beta.ppf(0.975, wrong + 1, streams - wrong)) if wrong < streams else 1.0


class Table:
    """Prints cells and remembers whether one was worse than alpha beyond Monte-Carlo error."""

    def __init__(self, streams: int, seed: int) -> None:
        self.streams, self.random, self.failed, self.worst = streams, np.random.default_rng(seed), False, 0.0

    def cell(self, name: str, sums: Ints, sizes: Ints, design: int | None = None) -> None:
        items = int(sizes.sum())
        drop = float((-sums).sum()) / items
        truth = -100 * int(sums.sum()) >= MARGIN_PERCENT * items
        regressed, used = run_streams(*permute_streams(sums, sizes, self.streams, self.random))
        wrong = int((regressed != truth).sum())
        rate = wrong / self.streams
        lowest = float(beta.ppf(0.025, wrong, self.streams - wrong + 1)) if wrong else 0.0
        self.failed |= lowest > ALPHA
        self.worst = max(self.worst, rate)
        against = f"{design:7,}" if design else "      -"
        print(
            f"{name:28} {items:5,} {100 * drop:6.2f} {'REGRESSED' if truth else 'OK':>9} {rate:7.4f}"
            f" <= {upper_bound(wrong, self.streams):.4f} {used.mean():8,.0f} {against}",
            flush=True,
        )


def flipping(items: int, lost: int, won: int) -> Ints:
    sums = np.zeros(items, dtype=np.int64)
    sums[:lost], sums[lost : lost + won] = -1, 1
    return sums


def finite_suites(table: Table) -> None:
    head = f"{'suite':28} {'N':>5} {'drop':>6} {'truth':>9} {'wrong':>7}    {'bound':>6}"
    print(f"{head} {'items':>8} {'design':>7}")
    for items in ITEMS:
        ones = np.ones(items, dtype=np.int64)
        for discordance in DISCORDANCE:
            for drop in DROPS:
                changed = max(discordance, drop)
                lost, won = round(items * (changed + drop) / 2), round(items * (changed - drop) / 2)
                design = DESIGN_ITEMS.get(items, {}).get(drop) if discordance == 0.10 else None
                table.cell(f"discordance {discordance:.2f}", flipping(items, lost, won), ones, design)
        for drop in DROPS[1:]:
            table.cell("every flip a loss", flipping(items, round(items * drop), 0), ones)
        for drop in DROPS:
            sums, sizes = clustered(items, drop)
            table.cell("clusters of 1 to 8, whole", sums, sizes)


def clustered(items: int, drop: float) -> tuple[Ints, Ints]:
    """Make clusters of 1 to 8 items of which a tenth of the items flips, whole clusters one way."""
    sizes: list[int] = []
    while sum(sizes) < items:
        sizes.append(min(1 + len(sizes) % 8, items - sum(sizes)))
    sums = np.zeros(len(sizes), dtype=np.int64)
    changed = max(0.10, drop)
    lost, won = items * (changed + drop) / 2, items * (changed - drop) / 2
    for place, size in enumerate(sizes):
        if lost >= size:
            sums[place], lost = -size, lost - size
        elif won >= size:
            sums[place], won = size, won - size
    return sums, np.array(sizes)


def ability(table: Table) -> None:
    head = f"{'fresh suites of ability':28} {'N':>5} {'drop':>6} {'REGRESSED':>9} {'alpha/1':>7}"
    print(f"\n{head} {'items':>6} {'design':>6}   (%)")
    for items in ITEMS:
        for drop in (0.0, 0.015, 0.05):
            chances = [(0.10 + drop) / 2, 0.90, (0.10 - drop) / 2]
            sums = table.random.choice(np.array([-1, 0, 1]), size=(table.streams, items), p=chances)
            regressed, used = run_streams(sums, np.ones_like(sums))
            at_alpha, _ = run_streams(sums, np.ones_like(sums), alpha_regressed=ALPHA)
            design = DESIGN_ABILITY.get((items, drop))
            print(
                f"{'discordance 0.10':28} {items:5,} {100 * drop:6.2f} {100 * regressed.mean():9.1f}"
                f" {100 * at_alpha.mean():7.1f} {used.mean():6,.0f} {'-' if design is None else design:>6}",
                flush=True,
            )


def whole_checks(table: Table, streams: int) -> None:
    """Run the driver itself, tasks and all: 7 tasks of 100 items, fresh answers each time."""
    head = f"{'whole check, 7 x 100':28} {'OK':>7} {'REGR.':>7} {'by task':>7} {'scored':>7}"
    print(f"\n{head}   of {streams} streams")
    items = [Item(f"task {task}", str(number)) for task in range(7) for number in range(100)]
    tasks = [TaskPlan(f"task {task}", "exact_match", 0.0) for task in range(7)]
    cases: dict[str, list[float]] = {
        "unchanged": [0.0] * 7,
        "unchanged, discordance 0.02": [0.0] * 7,
        "one task loses 20 points": [0.2] + [0.0] * 6,
        "one task loses 40 points": [0.4] + [0.0] * 6,
        "all lose 5 points": [0.05] * 7,
    }
    for name, drops in cases.items():
        discordance = 0.02 if "0.02" in name else 0.10
        answers: dict[str, int] = {"ok": 0, "regressed": 0, "task": 0}
        scored = 0
        for stream in range(streams):
            pairs = [
                one_pair(item, discordance, drops[int(item.task[-1])], float(u))
                for item, u in zip(items, table.random.random(len(items)), strict=True)
            ]
            base = {(pair.task, pair.item): pair.base for pair in pairs}
            result = judge_pairs(make_plan(tasks, items, base, seed=stream, cap=None), pairs, until="decided")
            answers[result.verdict] += 1
            answers["task"] += result.decided_by == "task"
            scored += result.items_scored
        print(
            f"{name:28} {answers['ok'] / streams:7.3f} {answers['regressed'] / streams:7.3f}"
            f" {answers['task'] / streams:7.3f} {scored / streams:7,.0f}",
            flush=True,
        )


def one_pair(item: Item, discordance: float, drop: float, u: float) -> PairedItem:
    """Draw an item: lost, won, or right on both sides, in 70 of 100 cases where it does not change."""
    lost, won = discordance / 2 + drop, discordance / 2
    if u < lost:
        return PairedItem(item.task, item.item, "", 1.0, 0.0)
    if u < lost + won:
        return PairedItem(item.task, item.item, "", 0.0, 1.0)
    right = float((u - lost - won) / (1 - lost - won) < 0.7)
    return PairedItem(item.task, item.item, "", right, right)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--whole", type=int, default=300, help="streams of the whole check, which are slower")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.process_time()
    table = Table(options.streams, options.seed)
    print(f"{options.streams:,} streams a cell, margin {MARGIN_PERCENT}.0 points, alpha {ALPHA}\n")
    finite_suites(table)
    print(f"\nworst wrong rate {table.worst:.4f}, alpha {ALPHA}")
    ability(table)
    whole_checks(table, options.whole)
    print(f"\n{time.process_time() - began:.0f} s of CPU")
    return int(table.failed)


if __name__ == "__main__":
    sys.exit(main())
