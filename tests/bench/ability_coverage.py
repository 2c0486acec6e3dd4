"""Simulate the claims about ability: does the confidence sequence hold at every look, is any task lost for nothing?

    python tests/bench/ability_coverage.py [--streams 2000] [--seed 1]

Fresh items (or clusters, or items of weighted tasks), a look every 64 items. The sequence misses in a stream if the
true drop lies outside it at any look, from first to last: allowed in alpha of the streams, alpha/2 a side. Its limits
are where the wealth bet against a drop passes 2/alpha, so it is enough to follow the wealth bet against the true one;
in the first streams of each kind the limits themselves are computed and compared. Then e-Holm over tasks whose ability
did not fall, a look every 8 items of a task: marked fallen (or lost) in at most alpha/2. Exits 1 if a rate is above
that by more than the Monte-Carlo error of this many cells.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import bench
import numpy as np
from simulation.streams import ALPHA, LOOK_ITEMS, MARGIN_PERCENT, bounds, surely_above

from finetop.core.check.statistics.betting import (
    Sample,
    confidence_sequence,
    holm,
    log_mean_exp,
    log_wealth_of_drop,
    log_wealth_under,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DROPS = (-0.05, 0.0, 0.03, 0.10, 0.40)
ITEMS = (1000, 10_000)
COMPARED = 20  # streams of a cell whose limits are computed too


@dataclass(frozen=True)
class Kind:
    """The possible draws: sums of tuned - base and sizes in units of the largest, items, and their probabilities."""

    name: str
    sums: Floats
    sizes: Floats
    items: Floats
    chances: Floats

    @property
    def drop(self) -> float:
        return float(-(self.chances @ self.sums) / (self.chances @ self.sizes)) + 0.0  # no -0.00


def single(discordance: float, drop: float) -> Kind:
    changed = max(discordance, abs(drop))
    lost, won = (changed + drop) / 2, (changed - drop) / 2
    return Kind(
        f"single items, flips {discordance:.2f}",
        np.array([-1.0, 0.0, 1.0]),
        np.ones(3),
        np.ones(3),
        np.array([lost, 1 - lost - won, won]),
    )


def of_sizes(name: str, sizes: list[int], items: list[int], flips: list[tuple[float, float]]) -> Kind:
    """Return a mix of draws that flip whole: for each size its chance to be lost and won; all sizes equally likely."""
    sums, widths, counts, chances = [], [], [], []
    for size, item, (lost, won) in zip(sizes, items, flips, strict=True):
        for change, chance in ((-1, lost), (0, 1 - lost - won), (1, won)):
            sums.append(change * size / max(sizes))
            widths.append(size / max(sizes))
            counts.append(float(item))
            chances.append(chance / len(sizes))
    return Kind(name, np.array(sums), np.array(widths), np.array(counts), np.array(chances))


def kinds(drop: float) -> list[Kind]:
    lost, won = (max(0.10, abs(drop)) + drop) / 2, (max(0.10, abs(drop)) - drop) / 2
    even = [(lost, won)] * 5
    heavy = [(0.05, 0.05)] * 4 + [(min(0.05 + 3 * abs(drop), 0.95), 0.05)]
    return [
        *(single(discordance, drop) for discordance in (0.05, 0.10, 0.20)),
        of_sizes("clusters of 1 to 8, whole", [1, 2, 4, 6, 8], [1, 2, 4, 6, 8], even),
        of_sizes("weights 1 to 5, spread", [1, 2, 3, 4, 5], [1] * 5, even),
        of_sizes("weights 1 to 5, heaviest loses", [1, 2, 3, 4, 5], [1] * 5, heavy),
    ]


def draw(kind: Kind, items: int, streams: int, random: np.random.Generator) -> Floats:
    """Return the counts of what was drawn up to each look, [looks, streams, possible draws]."""
    look = max(1, round(LOOK_ITEMS / float(kind.chances @ kind.items)))
    looks = max(1, round(items / LOOK_ITEMS))
    counts = random.multinomial(look, kind.chances, size=(looks, streams)).cumsum(axis=0)
    return counts.astype(np.float64)


def log_wealths(kind: Kind, counts: Floats, drop: float) -> tuple[Floats, Floats]:
    """Return the log wealth bet against a drop from both sides, each [streams], at one look."""
    drawn = Sample(kind.sums, kind.sizes, counts.T)  # one column per stream
    return log_mean_exp(log_wealth_of_drop(drawn, drop).T), log_mean_exp(log_wealth_under(drawn, drop).T)


def coverage(streams: int, random: np.random.Generator) -> bool:
    cells = len(ITEMS) * sum(len(kinds(drop)) for drop in DROPS)
    head = f"{'confidence sequence, every look':34} {'items':>6} {'drop':>6} {'missed':>7}    {'bound':>6}"
    print(f"{head} {'above':>7} {'below':>7} {'width, points':>14}")
    failed, worst, disagreed, compared = False, 0.0, 0, 0
    for items in ITEMS:
        for drop in DROPS:
            for kind in kinds(drop):
                counts = draw(kind, items, streams, random)
                above, below = np.zeros(streams, dtype=bool), np.zeros(streams, dtype=bool)
                outside = np.zeros(min(COMPARED, streams), dtype=bool)
                for look in counts:
                    of_drop, under = log_wealths(kind, look, kind.drop)
                    above |= of_drop >= log(2 / ALPHA)
                    below |= under >= log(2 / ALPHA)
                    if items == min(ITEMS):
                        for stream in range(len(outside)):
                            low, high = confidence_sequence(limits_of(kind, look[stream]), ALPHA)
                            outside[stream] |= not low <= kind.drop <= high
                missed = above | below
                if items == min(ITEMS):
                    disagreed += int((outside != missed[: len(outside)]).sum())
                    compared += len(outside)
                wrong = int(missed.sum())
                failed |= surely_above(wrong, streams, ALPHA, cells)
                worst = max(worst, wrong / streams)
                widths = [
                    confidence_sequence(limits_of(kind, draw_counts), ALPHA)
                    for draw_counts in counts[-1][:20]
                ]
                print(
                    f"{kind.name:34} {items:6,} {100 * kind.drop:6.2f} {wrong / streams:7.4f}"
                    f" <= {bounds(wrong, streams)[1]:.4f} {above.mean():7.4f} {below.mean():7.4f}"
                    f" {100 * float(np.mean([high - low for low, high in widths])):14.1f}",
                    flush=True,
                )
    print(f"\nworst rate of {cells} cells {worst:.4f}, alpha {ALPHA};", end=" ")
    print(f"limits computed in {compared:,} streams, another answer in {disagreed}")
    return failed or disagreed > 0


def limits_of(kind: Kind, counts: Floats) -> Sample:
    return Sample(kind.sums, kind.sizes, counts)


def tasks_lost_for_nothing(streams: int, random: np.random.Generator) -> bool:
    print(
        f"\n{'no ability fell: tasks by e-Holm':34} {'tasks':>6} {'each':>6} {'fallen':>7}    {'bound':>6} {'lost':>7}"
    )
    failed, cases = False, [(1, 100), (7, 100), (7, 500), (14, 100), (60, 100)]
    for tasks, items in cases:
        for discordance in (0.02, 0.10, 0.20):
            looks = items // 8
            kind = single(discordance, 0.0)
            counts = random.multinomial(8, kind.chances, size=(looks, streams * tasks)).cumsum(axis=0)
            peak = np.full(streams * tasks, -np.inf)
            fallen, lost = np.zeros(streams, dtype=bool), np.zeros(streams, dtype=bool)
            for look in counts:
                evidence, _ = log_wealths(kind, look.astype(np.float64), 0.0)
                peak = np.maximum(peak, evidence)
                drops = ((look[:, 0] - look[:, 2]) / look.sum(axis=1)).reshape(streams, tasks)
                for stream in np.flatnonzero(peak.reshape(streams, tasks).max(axis=1) >= log(2 / ALPHA)):
                    named = holm({str(task): peak[stream * tasks + task] for task in range(tasks)}, ALPHA / 2)
                    fallen[stream] |= bool(named)
                    lost[stream] |= any(drops[stream, int(task)] >= MARGIN_PERCENT / 100 for task in named)
            wrong = int(fallen.sum())
            failed |= surely_above(wrong, streams, ALPHA / 2, 3 * len(cases))
            print(
                f"{kind.name:34} {tasks:6} {items:6} {wrong / streams:7.4f} <= {bounds(wrong, streams)[1]:.4f}"
                f" {lost.mean():7.4f}",
                flush=True,
            )
    print(f"allowed: {ALPHA / 2}")
    return failed


def main() -> int:
    options = bench.options(__doc__, streams=2000, seed=1)
    began = time.process_time()
    random = np.random.default_rng(options.seed)
    print(f"{options.streams:,} streams a cell\n")
    failed = coverage(options.streams, random)
    failed |= tasks_lost_for_nothing(options.streams, random)
    print(f"\n{time.process_time() - began:.0f} s of CPU")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
