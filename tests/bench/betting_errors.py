"""Simulate the pool test on suites as they stand: how often its verdict is wrong, and how many items it takes.

    python tests/bench/betting_errors.py [--streams 2000] [--seed 1]

Every cell fixes a suite (numbers of lost and won items) and draws a new order in every stream. Suites of single items,
of clusters that flip whole, of tasks with weights 1 to 5, and suites in which every flip is a loss. "design" is the
mean of items in the design's table (discordance 0.10, looks of 16, REGRESSED at alpha). The bound is the upper end of
a 95 % Clopper-Pearson interval. Exits 1 if a wrong rate is above alpha by more than the Monte-Carlo error.
"""

from __future__ import annotations

import sys
import time

import bench
import numpy as np
from simulation.streams import (
    ALPHA,
    MARGIN_PERCENT,
    Suite,
    agrees_with_the_check,
    bounds,
    clustered,
    plain,
    run_differences,
    run_pool,
    surely_above,
    weighted,
)

ITEMS = (300, 600, 1000, 3000)
MANY_ITEMS = 10_000
DISCORDANCE = (0.05, 0.10, 0.20)
DROPS = (0.0, 0.01, 0.02, 0.028, 0.031, 0.04, 0.05, 0.10)
DROPS_OF_MANY = (0.0, 0.02, 0.028, 0.031, 0.05, 0.10)
WEIGHTS = (1, 2, 3, 4, 5)
DESIGN_ITEMS = {
    600: {0.0: 360, 0.01: 465, 0.02: 556, 0.028: 584, 0.031: 594, 0.05: 430, 0.10: 124},
    1000: {0.0: 449, 0.01: 655, 0.02: 872, 0.028: 983, 0.031: 964, 0.05: 640, 0.10: 132},
    3000: {0.0: 662, 0.01: 1129, 0.02: 2102, 0.028: 2873, 0.031: 2903, 0.05: 1032, 0.10: 142},
}
DESIGN_ABILITY = {
    (300, 0.0): 7.0, (600, 0.0): 2.3, (1000, 0.0): 0.3, (300, 0.05): 88, (600, 0.05): 94, (1000, 0.05): 99.7,
}  # fmt: skip


class Table:
    """Prints cells and remembers whether one was above alpha by more than the Monte-Carlo error."""

    def __init__(self, streams: int, seed: int) -> None:
        self.streams, self.random = streams, np.random.default_rng(seed)
        self.failed, self.worst, self.cells = False, 0.0, 0

    def cell(self, suite: Suite, design: int | None = None) -> None:
        runs = run_pool(suite, self.streams, self.random)
        wrong = runs.wrong(suite)
        self.failed |= surely_above(wrong, self.streams, ALPHA)
        self.worst, self.cells = max(self.worst, wrong / self.streams), self.cells + 1
        against = f"{design:7,}" if design else "      -"
        answer = "REGRESSED" if suite.fallen else "OK"
        print(
            f"{suite.name:32} {int(suite.items.sum()):6,} {100 * suite.drop:6.2f} {answer:>9}"
            f" {wrong / self.streams:7.4f} <= {bounds(wrong, self.streams)[1]:.4f}"
            f" {runs.used.mean():8,.0f} {against}",
            flush=True,
        )


def finite_suites(table: Table) -> None:
    print(
        f"{'suite':32} {'N':>6} {'drop':>6} {'truth':>9} {'wrong':>7}    {'bound':>6} {'items':>8} {'design':>7}"
    )
    for items in ITEMS:
        for discordance in DISCORDANCE:
            for drop in DROPS:
                design = DESIGN_ITEMS.get(items, {}).get(drop) if discordance == 0.10 else None
                table.cell(plain(f"discordance {discordance:.2f}", items, discordance, drop), design)
        for drop in DROPS[1:]:
            table.cell(plain("every flip a loss", items, 0.0, drop))
        for drop in DROPS:
            table.cell(clustered("clusters of 1 to 8, whole", items, drop))
    for discordance in DISCORDANCE:
        for drop in DROPS_OF_MANY:
            table.cell(plain(f"discordance {discordance:.2f}", MANY_ITEMS, discordance, drop))
    for drop in (0.028, 0.031):
        table.cell(plain("every flip a loss", MANY_ITEMS, 0.0, drop))
        table.cell(clustered("clusters of 1 to 8, whole", MANY_ITEMS, drop))


def weighted_suites(table: Table) -> None:
    """Run tasks with weights 1 to 5: damage spread evenly, only in the heaviest or the lightest, tasks of any size."""
    equal, unequal = (100,) * 5, (400, 200, 100, 60, 40)
    for drop in (0.0, 0.02, 0.028, 0.034, 0.05, 0.10):
        table.cell(weighted("weights 1 to 5, spread", equal, WEIGHTS, (drop,) * 5, 0.10))
        table.cell(weighted("400 to 40 items, weights 1 to 5", unequal, WEIGHTS, (drop,) * 5, 0.10))
    for lost in (0.05, 0.08, 0.09, 0.10, 0.20):
        table.cell(weighted("weights 1 to 5, heaviest loses", equal, WEIGHTS, (0, 0, 0, 0, lost), 0.10))
    for lost in (0.20, 0.40, 0.44, 0.46, 0.80):
        table.cell(weighted("weights 1 to 5, lightest loses", equal, WEIGHTS, (lost, 0, 0, 0, 0), 0.10))
    for lost in (0.08, 0.09, 0.10):
        table.cell(weighted("the same, every flip a loss", equal, WEIGHTS, (0, 0, 0, 0, lost), 0.0))
    for drop in (0.0, 0.028, 0.034):
        table.cell(weighted("all weigh 7: as unweighted", equal, (7,) * 5, (drop,) * 5, 0.10))


def ability(table: Table) -> None:
    head = f"{'fresh suites of ability':28} {'N':>5} {'drop':>6} {'REGRESSED':>9} {'alpha/1':>7}"
    print(f"\n{head} {'items':>6} {'design':>6}   (%)")
    for items in ITEMS:
        for drop in (0.0, 0.015, 0.05):
            chances = [(0.10 + drop) / 2, 0.90, (0.10 - drop) / 2]
            sums = table.random.choice(np.array([-1, 0, 1]), size=(table.streams, items), p=chances)
            ones = np.ones_like(sums)
            runs = run_differences(sums, ones, ones, 64)
            at_alpha = run_differences(sums, ones, ones, 64, alpha_regressed=ALPHA)
            design = DESIGN_ABILITY.get((items, drop))
            print(
                f"{'discordance 0.10':28} {items:5,} {100 * drop:6.2f} {100 * runs.regressed.mean():9.1f}"
                f" {100 * at_alpha.regressed.mean():7.1f} {runs.used.mean():6,.0f}"
                f" {'-' if design is None else design:>6}",
                flush=True,
            )


def main() -> int:
    options = bench.options(__doc__, streams=2000, seed=1)
    began = time.process_time()
    table = Table(options.streams, options.seed)
    for suite in (
        plain("", 600, 0.1, 0.028),
        clustered("", 600, 0.02),
        weighted("", (90,) * 3, (1, 3, 5), (0.0, 0.0, 0.05), 0.1),
    ):
        if not agrees_with_the_check(suite, 40, table.random):
            print("the simulation does not follow the check's own pool test")
            return 1
    print(f"{options.streams:,} streams a cell, margin {MARGIN_PERCENT}.0 points, alpha {ALPHA}\n")
    finite_suites(table)
    weighted_suites(table)
    print(f"\nworst wrong rate of {table.cells} cells {table.worst:.4f}, alpha {ALPHA}")
    ability(table)
    print(f"\n{time.process_time() - began:.0f} s of CPU")
    return int(table.failed)


if __name__ == "__main__":
    sys.exit(main())
