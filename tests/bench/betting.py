"""Simulate the pool test on suites as they stand: how often its verdict is wrong, how many items it takes.

    python tests/bench/betting.py [--streams 2000] [--seed 1]

Every cell fixes a suite (numbers of lost and won items) and draws a new order in every stream. Suites of single items,
of clusters that flip whole, of tasks with weights 1 to 5, and suites in which every flip is a loss. The bound is the
upper end of a 95 % Clopper-Pearson interval. Exits 1 if a wrong rate is above alpha by more than the Monte-Carlo error.

On single items Gaussian group-sequential tests answer the same question on the same orders, with the same looks: is the
drop over all N items 3 points or more, REGRESSED at alpha/2, OK at alpha. "fixed" is the n of a single z-test planned
with the drop and the flips known beforehand, which errs in alpha of the samples; all others start without that
knowledge. Beside each are its wrong rate, and "!" where that is above the requested one by more than the Monte-Carlo
error: Gaussian limits hold only with many flips.
"""

from __future__ import annotations

import sys
import time
from functools import cache
from typing import TYPE_CHECKING

import bench
import numpy as np
from simulation.gaussian import (
    bounds_of_looks,
    items_of_fixed_sample,
    looks_before_the_end,
    run_gaussian,
)
from simulation.streams import (
    ALPHA,
    MARGIN_PERCENT,
    Runs,
    Suite,
    agrees_with_the_check,
    bounds,
    clustered,
    join,
    orders,
    plain,
    run_orders,
    surely_above,
    weighted,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from simulation.gaussian import Spending

ITEMS = (300, 600, 1000, 3000)
MANY_ITEMS = 10_000
DISCORDANCE = (0.05, 0.10, 0.20)
DROPS = (0.0, 0.01, 0.02, 0.028, 0.031, 0.04, 0.05, 0.10)
DROPS_OF_MANY = (0.0, 0.02, 0.028, 0.031, 0.05, 0.10)
WEIGHTS = (1, 2, 3, 4, 5)
PEERS: tuple[Spending, ...] = ("O'Brien-Fleming", "Pocock")


class Table:
    """Prints cells and remembers whether one was above alpha by more than the Monte-Carlo error."""

    def __init__(self, streams: int, seed: int) -> None:
        self.streams, self.random = streams, np.random.default_rng(seed)
        self.failed, self.worst, self.cells = False, 0.0, 0
        self.shares: dict[str, list[float]] = {}  # of the items, in each cell that all answer

    def cell(self, suite: Suite, *, beside: bool = False) -> None:
        """Run a suite; single items by the others too."""
        items = int(suite.items.sum())
        parts: dict[str, list[Runs]] = {"betting": [], **{name: [] for name in PEERS if beside}}
        limits = {name: peer_bounds(items, name) for name in PEERS if beside}
        for order in orders(suite, self.streams, self.random):
            parts["betting"].append(run_orders(suite, order))
            for name, (to_regressed, to_ok) in limits.items():
                parts[name].append(run_gaussian(suite, order, to_regressed, to_ok))
        runs = {name: join(part) for name, part in parts.items()}
        own = runs.pop("betting")
        wrong = own.wrong(suite)
        self.failed |= surely_above(wrong, self.streams, ALPHA)
        self.worst, self.cells = max(self.worst, wrong / self.streams), self.cells + 1
        others = [shown(run, suite) for run in runs.values()]
        if beside:
            fixed = items_of_fixed_sample(suite)
            others.append(f"{fixed:7,}")
            used = {"betting": own.used, **{name: run.used for name, run in runs.items()}, "fixed": fixed}
            for name, count in used.items():
                self.shares.setdefault(name, []).append(float(np.mean(count)) / items)
        answer = "REGRESSED" if suite.fallen else "OK"
        print(
            f"{suite.name:32} {items:6,} {100 * suite.drop:6.2f} {answer:>9}"
            f" {wrong / self.streams:7.4f} <= {bounds(wrong, self.streams)[1]:.4f}"
            f" {own.used.mean():8,.0f}  {'  '.join(others)}",
            flush=True,
        )


@cache
def peer_bounds(items: int, spending: Spending) -> list[NDArray[np.float64]]:
    """Return a peer's limits at each look: to REGRESSED, to OK."""
    looks = looks_before_the_end(items)
    return [bounds_of_looks(looks, items, alpha, spending) for alpha in (ALPHA / 2, ALPHA)]


def shown(runs: Runs, suite: Suite) -> str:
    """Format mean items and wrong rate; a wrong answer about a fallen suite is an OK, at alpha."""
    wrong, streams = runs.wrong(suite), len(runs.used)
    above = surely_above(wrong, streams, ALPHA if suite.fallen else ALPHA / 2)
    return f"{runs.used.mean():8,.0f} {wrong / streams:6.4f}{'!' if above else ' '}"


def finite_suites(table: Table) -> None:
    print(
        f"{'suite':32} {'N':>6} {'drop':>6} {'truth':>9} {'wrong':>7}    {'bound':>6} {'items':>8} "
        + "".join(f" {name:>16}" for name in PEERS)
        + f" {'fixed':>8}"
    )
    for items in ITEMS:
        for discordance in DISCORDANCE:
            for drop in DROPS:
                table.cell(plain(f"discordance {discordance:.2f}", items, discordance, drop), beside=True)
        for drop in DROPS[1:]:
            table.cell(plain("every flip a loss", items, 0.0, drop))
        for drop in DROPS:
            table.cell(clustered("clusters of 1 to 8, whole", items, drop))
    for discordance in DISCORDANCE:
        for drop in DROPS_OF_MANY:
            suite = plain(f"discordance {discordance:.2f}", MANY_ITEMS, discordance, drop)
            table.cell(suite, beside=True)
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
    shares = "  ".join(f"{name} {100 * float(np.mean(part)):.0f} %" for name, part in table.shares.items())
    print(f"items used, share of N, mean of the cells: {shares}")
    print(f"\n{time.process_time() - began:.0f} s of CPU")
    return int(table.failed)


if __name__ == "__main__":
    sys.exit(main())
