"""The betting tests: is the drop at least the margin, on the suite as it stands and as a claim about ability.

D = tuned - base in [-1, 1] for an item; for a cluster its sum over the largest cluster's size, so that D
stays in [-1, 1], and the margin is rescaled alike, so that the claim stays about the mean drop of an item.
Where tasks are weighted, an item is a cluster of its weight's size: every sum and size here is then
multiplied by a whole number, and the claim is about the weighted mean.
Evidence is the mean wealth of nine bettors, each with a constant stake: a nonnegative supermartingale while
the claim it bets against holds, so that it ever passes 1/alpha with probability at most alpha, whenever one
looks or stops (Ville; Waudby-Smith & Ramdas 2024, arXiv:2010.09686).

Two claims, two samplings:

- `PoolTest`: the mean over all N items of the suite, drawn without replacement; at the last item arithmetic
decides, if not before.
- `Sample`: ability, with the items as fresh draws. No arithmetic, so it may stay undecided.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, log, nextafter
from typing import TYPE_CHECKING, Literal

import numpy as np

from finetop.core.errors import BadInput
from finetop.core.protocol.check_result import ALPHA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Pair = tuple[Floats, Floats]

BETS = np.array([0.03, 0.06, 0.1, 0.15, 0.22, 0.32, 0.45, 0.6, 0.78])
SAFE_STAKE = 0.95  # the share of the wealth that the worst draw may cost
NARROWEST = 0.05  # below this distance to a bound the stake is capped by BETS alone
GRID, ROUNDS = 101, 3  # confidence limits are accurate to 2 / 100**3
HALVINGS = 30  # of the range of drops that the suite may have

Exact = int | Fraction  # sums of binary scores stay integers, which are faster
Decision = Literal["ok", "regressed"]


def exact(value: float) -> Exact:
    """Convert a float to the decimal it prints as: 0.03 is 3/100, so that equality with the margin is exact."""
    return int(value) if value == int(value) else Fraction(repr(float(value)))


def log_mean_exp(log_wealth: Floats) -> Floats:
    """Average wealth over the last axis, in logarithms."""
    top = log_wealth.max(axis=-1, keepdims=True)
    mean: Floats = top[..., 0] + np.log(np.exp(log_wealth - top).sum(axis=-1) / log_wealth.shape[-1])
    return mean


def log_factors(excess: Floats, distance: Floats) -> Floats:
    """Return each bettor's log growth on one draw: log(1 + stake * excess), [...] -> [bets, ...].

    `excess` never falls below -`distance`, which keeps every factor at 0.05 or more.
    """
    ceiling = SAFE_STAKE / np.maximum(distance, NARROWEST)
    stakes = np.minimum(BETS.reshape(-1, *(1,) * excess.ndim), ceiling)
    growth: Floats = np.log1p(stakes * excess)
    return growth


def log_growth(differences: Floats, before: Floats, full_drop: float, clusters_left: int) -> Pair:
    """Return the bettors' log growth over consecutive draws without replacement, for REGRESSED and for OK.

    differences [..., draws] are D; before [...] is the sum of D so far; full_drop is the drop that is bet on,
    summed over the suite in units of D; clusters_left counts the clusters not drawn before these. -> two arrays
    [bets, ...].
    """
    rest = clusters_left - np.arange(differences.shape[-1])
    running = before[..., None] + np.cumsum(differences, axis=-1) - differences
    mean = (-full_drop - running) / rest  # of the rest, if the full drop were exactly full_drop
    regressed = log_factors(mean - differences, 1 - mean) * (mean < 1)
    ok = log_factors(differences - mean, 1 + mean) * (mean > -1)
    return regressed.sum(axis=-1), ok.sum(axis=-1)


@dataclass(frozen=True)
class PoolTest:
    """The finite-population test so far. Sums and the threshold are exact; `decision` is kept once proven.

    Each answer has its own alpha, since only one of them can be wrong for a given suite.
    """

    full_drop: Exact  # margin * sizes: the summed drop from which on the suite is REGRESSED
    largest: int
    clusters_left: int
    items_left: int  # their weight, if they are weighted
    alpha_regressed: float
    alpha_ok: float
    total: Exact  # the sum of tuned - base so far
    log_regressed: Floats  # [bets]
    log_ok: Floats  # [bets]
    decision: Decision | None = None
    by: Literal["", "betting", "arithmetic"] = ""
    decided_left: int = 0  # clusters that were left when betting decided

    @property
    def log_evidence(self) -> dict[Decision, float]:
        return {"regressed": float(log_mean_exp(self.log_regressed)), "ok": float(log_mean_exp(self.log_ok))}


def require_margin(margin: float) -> None:
    """Raise BadInput unless 0 < margin <= 1."""
    if not 0 < margin <= 1:
        hint = "Give a drop above 0 and at most 1 (3 points are 0.03)."
        raise BadInput(f"margin is {margin:g}.", hint=hint)


def begin_pool(
    margin: Exact, cluster_sizes: Sequence[int], *, alpha_regressed: float, alpha_ok: float
) -> PoolTest:
    """Start a test of "the mean drop of all items is at least the margin" over clusters of these sizes.

    Raises BadInput unless 0 < margin <= 1, both alphas are in (0, 1) and there is an item.
    """
    require_margin(float(margin))
    if not (0 < alpha_regressed < 1 and 0 < alpha_ok < 1):
        raise BadInput(f"alpha is {alpha_ok:g}.", hint=f"Give a probability between 0 and 1, say {ALPHA:g}.")
    if not cluster_sizes or min(cluster_sizes) < 1:
        raise BadInput("There is no item to test.", hint="Give clusters of at least one item.")
    items = sum(cluster_sizes)
    return PoolTest(
        full_drop=margin * items,
        largest=max(cluster_sizes),
        clusters_left=len(cluster_sizes),
        items_left=items,
        alpha_regressed=alpha_regressed,
        alpha_ok=alpha_ok,
        total=0,
        log_regressed=np.zeros(len(BETS)),
        log_ok=np.zeros(len(BETS)),
    )


def feed_pool(test: PoolTest, sums: Sequence[Exact], sizes: Sequence[int]) -> PoolTest:
    """Feed one look and decide: the next clusters' exact sums of tuned - base and their sizes, in order.

    A result that holds whatever the remaining items show overrules one proven by betting (wrong with probability
    alpha).
    """
    if not sums:
        return test
    differences = np.array([float(total / test.largest) for total in sums])
    before, full_drop = np.array(float(test.total / test.largest)), float(test.full_drop / test.largest)
    regressed, ok = log_growth(differences, before, full_drop, test.clusters_left)
    fed = replace(
        test,
        clusters_left=test.clusters_left - len(sums),
        items_left=test.items_left - sum(sizes),
        total=test.total + sum(sums),
        log_regressed=test.log_regressed + regressed,
        log_ok=test.log_ok + ok,
    )
    return _decide(fed)


def _decide(test: PoolTest) -> PoolTest:
    if -(test.total + test.items_left) >= test.full_drop:
        return replace(test, decision="regressed", by="arithmetic")
    if -(test.total - test.items_left) < test.full_drop:
        return replace(test, decision="ok", by="arithmetic")
    if test.decision:
        return test
    bars = {"regressed": -log(test.alpha_regressed), "ok": -log(test.alpha_ok)}
    for decision, evidence in test.log_evidence.items():
        if evidence >= bars[decision]:
            return replace(test, decision=decision, by="betting", decided_left=test.clusters_left)
    return test


def suite_interval(test: PoolTest, sums: Sequence[Exact], items: int) -> tuple[float, float]:
    """Bound the mean drop over all `items` of the suite by inverting the test: the drops it has not refuted.

    `sums` are those that the test was fed. If the test says REGRESSED the low end is the margin or more; if OK the
    high end is under it; undecided, the interval holds the margin. The low end is wrong with probability at most
    alpha_regressed, the high end at most alpha_ok. A decision stands even if its evidence falls later: drops refuted
    at that look stay refuted. Both limits are found by bisection, because evidence is monotone in the drop bet
    against.
    """
    lefts = {test.clusters_left, test.decided_left if test.by == "betting" else test.clusters_left}
    bounds = [_not_refuted(test, sums, left, items) for left in lefts]
    low, high = max(low for low, _ in bounds), min(high for _, high in bounds)
    if low > high:  # the two looks contradict each other: keep only what is certain
        low, high = -float(test.total + test.items_left), -float(test.total - test.items_left)
    low, high, margin = low / items, high / items, float(test.full_drop / items)
    if test.decision == "regressed":
        low = max(low, margin)
    elif test.decision == "ok":
        high = min(high, nextafter(margin, -inf))
    return min(low, high), max(low, high)


def _not_refuted(test: PoolTest, sums: Sequence[Exact], left: int, items: int) -> tuple[float, float]:
    """Return the least and the largest summed drop that the first clusters, all but `left`, do not refute."""
    clusters = len(sums) + test.clusters_left
    fed = np.array([float(total / test.largest) for total in sums[: clusters - left]])
    least, most = -float(test.total + test.items_left), -float(test.total - test.items_left)

    def is_refuted(drop: float, decision: Decision) -> bool:
        regressed, ok = log_growth(fed, np.array(0.0), drop / test.largest, clusters)
        if decision == "regressed":
            return float(log_mean_exp(regressed)) >= -log(test.alpha_regressed)
        return float(log_mean_exp(ok)) >= -log(test.alpha_ok)

    def limit(certain: float, other: float, decision: Decision) -> tuple[float, float]:
        refuted, held, probe = certain, other, float(test.full_drop)
        for _ in range(HALVINGS):
            if min(refuted, held) < probe < max(refuted, held):
                refuted, held = (probe, held) if is_refuted(probe, decision) else (refuted, probe)
            probe = (refuted + held) / 2
        return refuted, held

    return limit(least, most, "regressed")[0], limit(most, least, "ok")[1]


@dataclass(frozen=True)
class Sample:
    """Differences seen as fresh draws, equal ones counted: with constant stakes the order has no effect."""

    sums: Floats  # of tuned - base over the cluster, in units of the largest cluster's size
    sizes: Floats  # in the same units
    counts: Floats

    @property
    def empty(self) -> bool:
        return not self.counts.size


def sample(sums: Sequence[Exact], sizes: Sequence[int], largest: int) -> Sample:
    """Gather clusters (sums of tuned - base and sizes); `largest` is the largest size that can be drawn."""
    return sample_of_tally(Counter(zip(sums, sizes, strict=True)), largest)


def sample_of_tally(tally: Mapping[tuple[Exact, int], int], largest: int) -> Sample:
    """Gather clusters that are already counted by (sum of tuned - base, size)."""
    return Sample(
        np.array([float(total / largest) for total, _ in tally]),
        np.array([size / largest for _, size in tally]),
        np.array([float(count) for count in tally.values()]),
    )


def log_wealth_of_drop(drawn: Sample, drop: float) -> Floats:
    """Bet against "the ability fell by at most `drop`"; high log wealth [bets] proves a larger drop."""
    return _log_wealth(drawn, np.array([drop]), against_at_most=True)[:, 0]


def log_wealth_under(drawn: Sample, drop: float) -> Floats:
    """Bet against "the ability fell by `drop` or more"; high log wealth [bets] proves a smaller drop."""
    return _log_wealth(drawn, np.array([drop]), against_at_most=False)[:, 0]


def confidence_sequence(drawn: Sample, alpha: float, alpha_high: float | None = None) -> tuple[float, float]:
    """Bound the ability's mean drop from both sides, at alpha/2 a side, valid at every time at once.

    `alpha_high`, if given, replaces alpha/2 for the high end, where that is a separate claim. Each side's wealth is
    monotone in the drop bet against, so its limit is found on ever finer grids, rounded outwards.
    """
    if drawn.empty:
        return (-1.0, 1.0)
    bars = {True: log(2 / alpha), False: -log(alpha / 2 if alpha_high is None else alpha_high)}

    def refuted(drops: Floats, against_at_most: bool) -> int:
        wealth = _log_wealth(drawn, drops, against_at_most=against_at_most)
        return int((log_mean_exp(wealth.T) >= bars[against_at_most]).sum())

    low, high = -1.0, 1.0
    start, stop = -1.0, 1.0
    for _ in range(ROUNDS):
        drops = np.linspace(start, stop, GRID)
        last = refuted(drops, True) - 1
        if last < 0:
            break
        low, start, stop = float(drops[last]), float(drops[last]), float(drops[min(last + 1, GRID - 1)])
    start, stop = -1.0, 1.0
    for _ in range(ROUNDS):
        drops = np.linspace(start, stop, GRID)
        first = GRID - refuted(drops, False)
        if first >= GRID:
            break
        high, start, stop = float(drops[first]), float(drops[max(first - 1, 0)]), float(drops[first])
    return (low, high)


def _log_wealth(drawn: Sample, drops: Floats, *, against_at_most: bool) -> Floats:
    """Return the bettors' log wealth [bets, drops] over the sample, one column for each drop bet against."""
    if drawn.empty:
        return np.zeros((len(BETS), len(drops)))
    # [drops, distinct], mean 0 where the ability's drop is this one
    excess = drawn.sums + drops[:, None] * drawn.sizes
    sign = 1 if against_at_most else -1
    wealth: Floats = log_factors(-sign * excess, 1 + sign * drops[:, None]) @ drawn.counts
    return wealth


def holm(log_evidence: Mapping[str, float], alpha: float) -> frozenset[str]:
    """Reject by e-Holm: of K claims, those that pass K/alpha, (K-1)/alpha, … from the strongest down.

    A true null is rejected with probability at most alpha, however the claims depend on each other.
    """
    rejected: list[str] = []
    for place, name in enumerate(sorted(log_evidence, key=lambda name: (-log_evidence[name], name))):
        if log_evidence[name] < log((len(log_evidence) - place) / alpha):
            break
        rejected.append(name)
    return frozenset(rejected)


def spend_alpha(alpha: float, claim: int) -> float:
    """Return the k-th checkpoint's share (from 1), alpha / (k (k + 1)): all shares together sum to alpha."""
    if claim < 1:
        raise BadInput(f"claim {claim} has no share of alpha.", hint="Claims are counted from 1.")
    return alpha / (claim * (claim + 1))
