"""Suites to simulate, many random orders of each at once, and the pool test run over them.

The pool test runs as in a check: REGRESSED at alpha/2, OK at alpha, a look every 64 items, with the bets and the wealth
of core/check/statistics/betting.py. Only the bookkeeping is done for all streams at once; `agrees_with_the_check`
compares it with the check's own, stream by stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import beta, binom

from finetop.core.check.statistics.betting import (
    BETS,
    begin_pool,
    exact,
    feed_pool,
    log_factors,
    log_growth,
    log_mean_exp,
)
from finetop.core.check.statistics.paired_tests import EARLY, level_at_the_end

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

ALPHA = 0.05
MARGIN_PERCENT = 3
LOOK_ITEMS = 64
STREAMS_AT_ONCE = 500  # 10,000 items of this many streams are 40 MB


@dataclass(frozen=True)
class Suite:
    """Clusters of a suite: sums of tuned - base and sizes, both weighted, and items, which are not."""

    name: str
    sums: Ints
    sizes: Ints
    items: Ints

    @property
    def drop(self) -> float:
        return float(-self.sums.sum() / self.sizes.sum())

    @property
    def fallen(self) -> bool:
        """Return whether the drop is the margin or more, in whole numbers."""
        return bool(-100 * int(self.sums.sum()) >= MARGIN_PERCENT * int(self.sizes.sum()))

    @property
    def look_clusters(self) -> int:
        return max(1, round(LOOK_ITEMS * len(self.sums) / int(self.items.sum())))


@dataclass(frozen=True)
class Runs:
    """The answer of each stream, and its number of items."""

    regressed: Bools
    ok: Bools
    used: Ints

    def wrong(self, suite: Suite) -> int:
        return int((self.regressed != suite.fallen).sum())


def join(parts: Sequence[Runs]) -> Runs:
    return Runs(
        np.concatenate([part.regressed for part in parts]),
        np.concatenate([part.ok for part in parts]),
        np.concatenate([part.used for part in parts]),
    )


def plain(name: str, items: int, discordance: float, drop: float) -> Suite:
    """Return single items of which (discordance + drop) / 2 are lost and (discordance - drop) / 2 won."""
    changed = max(discordance, abs(drop))
    sums = flips(items, round(items * (changed + drop) / 2), round(items * (changed - drop) / 2))
    return Suite(name, sums, np.ones_like(sums), np.ones_like(sums))


def flips(items: int, lost: int, won: int) -> Ints:
    sums = np.zeros(items, dtype=np.int64)
    sums[:lost], sums[lost : lost + won] = -1, 1
    return sums


def clustered(name: str, items: int, drop: float, discordance: float = 0.10) -> Suite:
    """Return clusters of 1 to 8 items that flip whole, in one direction."""
    sizes: list[int] = []
    while sum(sizes) < items:
        sizes.append(min(1 + len(sizes) % 8, items - sum(sizes)))
    sums = np.zeros(len(sizes), dtype=np.int64)
    changed = max(discordance, drop)
    lost, won = items * (changed + drop) / 2, items * (changed - drop) / 2
    for place, size in enumerate(sizes):
        if lost >= size:
            sums[place], lost = -size, lost - size
        elif won >= size:
            sums[place], won = size, won - size
    return Suite(name, sums, np.array(sizes), np.array(sizes))


def weighted(
    name: str, task_items: Sequence[int], weights: Sequence[int], lost: Sequence[float], discordance: float
) -> Suite:
    """Return tasks of single items with these sizes and weights; in task k an extra share lost[k] is lost."""
    sums, sizes = [], []
    for items, weight, share in zip(task_items, weights, lost, strict=True):
        both = round(items * max(discordance - share, 0.0) / 2)
        sums.append(weight * flips(items, both + round(items * share), both))
        sizes.append(np.full(items, weight, dtype=np.int64))
    every = np.concatenate(sums)
    return Suite(name, every, np.concatenate(sizes), np.ones_like(every))


def orders(suite: Suite, streams: int, random: np.random.Generator) -> Iterator[Ints]:
    """Yield orders of the clusters, uniform and independent, [some streams, clusters] at a time."""
    for start in range(0, streams, STREAMS_AT_ONCE):
        some = min(STREAMS_AT_ONCE, streams - start)
        yield random.permuted(np.tile(np.arange(len(suite.sums), dtype=np.int32), (some, 1)), axis=1)


def run_orders(suite: Suite, order: Ints) -> Runs:
    """Run the pool test over given orders of the clusters, [streams, clusters]."""
    return run_differences(suite.sums[order], suite.sizes[order], suite.items[order], suite.look_clusters)


def run_differences(
    sums: Ints,
    sizes: Ints,
    items: Ints,
    look: int,
    *,
    ability: bool = False,
) -> Runs:
    """Run the pool test over streams of clusters in drawn order, all three [streams, clusters].

    With `ability` REGRESSED also needs an unchanged model ruled out, as in a check of single items of one task; a
    stream that ends without that is neither REGRESSED nor OK.
    """
    streams, clusters = sums.shape
    weight, largest = int(sizes[0].sum()), int(sizes.max())
    regressed, ok, used = (np.zeros(streams, dtype=kind) for kind in (bool, bool, np.int64))
    live = np.arange(streams)
    total, left, drawn = (np.full(streams, start, dtype=np.int64) for start in (0, weight, 0))
    log_regressed, log_ok, log_fell = (np.zeros((len(BETS), streams)) for _ in range(3))
    proven = np.zeros(streams, dtype=bool)  # REGRESSED of the suite, kept once proven
    for start in range(0, clusters, look):
        now = sums[live, start : start + look]
        grown = log_growth(
            now / largest, total / largest, MARGIN_PERCENT * weight / 100 / largest, clusters - start
        )
        log_regressed, log_ok = log_regressed + grown[0], log_ok + grown[1]
        total = total + now.sum(axis=1)
        left = left - sizes[live, start : start + look].sum(axis=1)
        drawn = drawn + items[live, start : start + look].sum(axis=1)
        surely_regressed = -100 * (total + left) >= MARGIN_PERCENT * weight
        surely_ok = -100 * (total - left) < MARGIN_PERCENT * weight
        proven = surely_regressed | (
            ~surely_ok & (proven | (log_mean_exp(log_regressed.T) >= -log(ALPHA / 2)))
        )
        says_ok = surely_ok | (~proven & (log_mean_exp(log_ok.T) >= -log(ALPHA)))
        says_regressed = proven
        if ability and start + look < clusters:
            log_fell = log_fell + log_factors(-now / largest, np.ones(now.shape)).sum(axis=-1)
            says_regressed = proven & (log_mean_exp(log_fell.T) >= -log(EARLY * ALPHA))
        elif ability:
            lost, flips = (sums[live] < 0).sum(axis=1), (sums[live] != 0).sum(axis=1)
            says_regressed = proven & (binom.sf(lost - 1, flips, 0.5) <= level_at_the_end(ALPHA))
        done = says_regressed | says_ok | (start + look >= clusters)
        regressed[live[done]], ok[live[done]] = says_regressed[done], says_ok[done]
        used[live[done]] = drawn[done]
        go_on = ~done
        live, total, left, drawn, proven = (part[go_on] for part in (live, total, left, drawn, proven))
        log_regressed, log_ok, log_fell = (part[:, go_on] for part in (log_regressed, log_ok, log_fell))
        if not live.size:
            break
    return Runs(regressed, ok, used)


def agrees_with_the_check(suite: Suite, streams: int, random: np.random.Generator) -> bool:
    """Feed the same orders to the check's own pool test, one by one, and compare answers and items used."""
    (order,) = orders(suite, streams, random)
    runs = run_orders(suite, order)
    for stream, places in enumerate(order):
        test = begin_pool(
            exact(MARGIN_PERCENT / 100), suite.sizes.tolist(), alpha_regressed=ALPHA / 2, alpha_ok=ALPHA
        )
        used = 0
        for start in range(0, len(places), suite.look_clusters):
            look = places[start : start + suite.look_clusters]
            test = feed_pool(test, suite.sums[look].tolist(), suite.sizes[look].tolist())
            used += int(suite.items[look].sum())
            if test.decision:
                break
        if (test.decision == "regressed", used) != (bool(runs.regressed[stream]), int(runs.used[stream])):
            return False
    return True


def bounds(wrong: int, streams: int) -> tuple[float, float]:
    """Return 95 % bounds of a rate from both sides (Clopper-Pearson)."""
    low = float(beta.ppf(0.025, wrong, streams - wrong + 1)) if wrong else 0.0
    high = float(beta.ppf(0.975, wrong + 1, streams - wrong)) if wrong < streams else 1.0
    return low, high


def surely_above(wrong: int, streams: int, allowed: float, cells: int = 1) -> bool:
    """Return whether a rate is above the allowed one by more than the Monte-Carlo error, as one of many cells."""
    return wrong > 0 and float(beta.ppf(0.025 / cells, wrong, streams - wrong + 1)) > allowed
