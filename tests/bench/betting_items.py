"""Items used: the betting test beside Gaussian group-sequential tests, a fixed-sample test, and running everything.

    python tests/bench/betting_items.py [--streams 2000] [--seed 1]

Every method answers the same question on the same orders: is the drop over all N items 3 points or more, REGRESSED at
alpha/2, OK at alpha, a look every 64 items. "fixed" is the n of a single z-test planned with the drop and the flips
known beforehand, which errs in alpha of the samples; all others start without that knowledge. A "!" marks a wrong rate
above the requested one (alpha/2 for REGRESSED, alpha for OK) by more than the Monte-Carlo error of one cell: Gaussian
limits hold only with many flips. Exits 1 if the betting test has a "!".
"""

from __future__ import annotations

import sys
import time

import bench
import numpy as np
from simulation.gaussian import (
    bounds_of_looks,
    items_of_fixed_sample,
    looks_before_the_end,
    run_gaussian,
)
from simulation.streams import ALPHA, Runs, Suite, join, orders, plain, run_orders, surely_above

ITEMS = (300, 600, 1000, 3000, 10_000)
DISCORDANCE = (0.05, 0.10, 0.20)
DROPS = (0.0, 0.01, 0.02, 0.031, 0.05, 0.10)


def shown(runs: Runs, suite: Suite) -> tuple[str, bool]:
    """Format mean items and wrong rate; a wrong answer about a fallen suite is an OK, at alpha."""
    wrong, streams = runs.wrong(suite), len(runs.used)
    above = surely_above(wrong, streams, ALPHA if suite.fallen else ALPHA / 2)
    return f"{runs.used.mean():8,.0f} {wrong / streams:6.4f}{'!' if above else ' '}", above


def main() -> int:
    options = bench.options(__doc__, streams=2000, seed=1)
    began = time.process_time()
    random = np.random.default_rng(options.seed)
    failed = False
    means: dict[str, list[float]] = {}
    print(
        f"{options.streams:,} streams a cell; items used (mean) and wrong rate; running everything is N, never wrong\n"
    )
    print(
        f"{'flips':>5} {'drop':>5} {'N':>6}   {'betting':>15} {'OBrien-Fleming':>16} {'Pocock':>15}   {'fixed':>6}"
    )
    for items in ITEMS:
        looks = looks_before_the_end(items)
        bounds = {
            spending: [bounds_of_looks(looks, items, alpha, spending) for alpha in (ALPHA / 2, ALPHA)]
            for spending in ("O'Brien-Fleming", "Pocock")
        }
        for discordance in DISCORDANCE:
            for drop in DROPS:
                suite = plain("", items, discordance, drop)
                parts: dict[str, list[Runs]] = {"betting": [], **{name: [] for name in bounds}}
                for order in orders(suite, options.streams, random):
                    parts["betting"].append(run_orders(suite, order))
                    for spending, (to_regressed, to_ok) in bounds.items():
                        parts[spending].append(run_gaussian(suite, order, to_regressed, to_ok))
                runs = {name: join(part) for name, part in parts.items()}
                fixed = items_of_fixed_sample(suite)
                cells = [shown(run, suite) for run in runs.values()]
                failed |= cells[0][1]
                for name, run in runs.items():
                    means.setdefault(name, []).append(float(run.used.mean()) / items)
                means.setdefault("fixed", []).append(fixed / items)
                print(
                    f"{discordance:5.2f} {100 * suite.drop:5.1f} {items:6,}  {'  '.join(cell for cell, _ in cells)}"
                    f"  {fixed:6,}",
                    flush=True,
                )
    every = "  ".join(f"{name} {100 * float(np.mean(shares)):.0f} %" for name, shares in means.items())
    print(f"\nitems used, share of N, mean of the cells: {every}")
    print(f"{time.process_time() - began:.0f} s of CPU")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
