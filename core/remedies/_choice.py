"""Which remedy is best, and when that is confirmed.

The suite's permutation is cut in two before anything is looked at. On its first part, for choosing, every candidate is
checked at alpha, as any model is. The best so far is the one of those proven OK there that keeps most of the gain: of
several metrics of the target, by the one of which it keeps least, as what was wanted is all of them. But the best of
several on the same items looks better than it is. So it is checked once more on the second part, for
confirming, whose items chose nothing, at alpha / K. If it is not proven OK there, the next best has its turn.

**Why a confirmation is wrong with probability at most alpha.** K is the number of candidates that any run can have
(`remedies.most`), whatever is tried of them. Say candidate c is one of those whose drop over the second part is the
margin or more. Given which items are in that part, their order is uniform, and the test bets along that order alone, so
it calls c OK with probability at most alpha / K, whenever it is looked at (Ville; statistics/betting.py). It is one
and the same test whenever c is tried again: the same items in the same order. So whichever candidates are confirmed, in
whatever order and however often somebody asks, even by what they saw of the second part in an earlier check, some
candidate is confirmed wrongly with probability at most K * alpha / K. The claim is about the items for confirming as
they stand, which are a uniform draw from the suite; what is said of a candidate on the first part is no claim.

That the items chose nothing is what keeps the numbers beside the answer honest: the drop there, and its interval, are
those of one model that was picked without them.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.check.statistics.item_order import clusters_of, first_look
from finetop.core.protocol.check_result import LOWER_IS_BETTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from finetop.core.check.statistics.verdict import CheckPlan
    from finetop.core.protocol.check_result import TargetScore
    from finetop.core.protocol.runs import RemedyRow

# Items; of an unchanged model 449 of 1,000 are needed on average, of one that loses 1 point 655.
CHOOSING_MOST = 1000
LEAST_FRESH = 64  # one look; on fewer items "under the limit" says next to nothing of the model
NO_ITEMS = "no items left"


def parts(plan: CheckPlan, candidates: int) -> tuple[CheckPlan, CheckPlan | None]:
    """Cut a check into one for choosing and one for confirming; None where too few items would be left for that.

    `candidates` is how many there can be: the second spends alpha / candidates.
    """
    clusters = clusters_of(plan.order)
    choosing = first_look(clusters, choosing_items(len(plan.order)))
    fresh = plan.order[len(choosing) :]
    if len(choosing) < LEAST_FRESH or len(fresh) < LEAST_FRESH:
        return _part(plan, plan.order, "choosing", plan.alpha), None
    return (
        _part(plan, choosing, "choosing", plan.alpha),
        _part(plan, fresh, f"confirming, one of {candidates}", plan.alpha / candidates),
    )


def choosing_items(items: int) -> int:
    """Return how many of a suite's items are for choosing."""
    return min(CHOOSING_MOST, items // 2)


def _part(plan: CheckPlan, order: Sequence[object], what: str, alpha: float) -> CheckPlan:
    digest = sha256(f"{plan.hash} {len(order)} {what}".encode()).hexdigest()
    return msgspec.structs.replace(plan, order=tuple(order), alpha=alpha, hash=digest)


def gained(reached: Mapping[Any, TargetScore]) -> dict[str, float]:
    """Name the metrics by which tuning has gained, of which the model as it is keeps all: those that prove it.

    Where none does (with an interval without 0), those that look so. What may be no gain at all has no share to keep.
    """
    ahead = {
        metric: (pair.base - pair.tuned, -pair.high)
        if metric in LOWER_IS_BETTER
        else (pair.tuned - pair.base, pair.low)
        for metric, pair in reached.items()
    }
    seen = {metric: low for metric, (by, low) in ahead.items() if by > 0}
    return dict.fromkeys([metric for metric, low in seen.items() if low > 0] or seen, 1.0)


def shares(
    reached: Mapping[Any, float], base: Mapping[Any, float], now: Mapping[str, float], metrics: Iterable[str]
) -> dict[str, float]:
    """Return the share that is kept of what tuning gained by each metric, 1 at where the model is now."""
    return {
        metric: (reached[metric] - base[metric]) / (now[metric] - base[metric])
        for metric in metrics
        if metric in reached and base.get(metric) != now.get(metric) and metric in base and metric in now
    }


def ranked(rows: Sequence[RemedyRow]) -> list[RemedyRow]:
    """Order those that are proven OK, most of the least kept gain first; without a target the strongest first."""
    fine = [row for row in rows if row.verdict == "ok"]
    return sorted(fine, key=lambda row: -(row.gain if row.gain is not None else 0.0))


def best(rows: Sequence[RemedyRow]) -> RemedyRow | None:
    """Return the one that is confirmed, else the best so far: the first that was not refuted on fresh items."""
    order = ranked(rows)
    confirmed = [row for row in order if row.confirmation == "ok"]
    return next(
        iter(confirmed or [row for row in order if row.confirmation not in ("regressed", "no_verdict")]), None
    )
