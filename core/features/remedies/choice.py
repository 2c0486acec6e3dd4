"""Which remedy is best, and when it is confirmed.

The suite's permutation is split in two before any item is scored. On the first part, the selection items, every
candidate is checked at alpha, like any model. The best so far is the one proven OK there that keeps most of the gain:
with several metrics of the target, by the metric that keeps least, because all of them were wanted. But the best of
several on the same items looks better than it is. So it is checked again on the second part, the confirmation items,
which selected nothing, at alpha / K. If it is not proven OK there, the next best is checked.

**Why a confirmation is wrong with probability at most alpha.** K is the number of candidates that any run can have
(`remedies.most_candidates`), however many are tried. Let candidate c be one whose drop over the second part is the
margin or more. Given which items are in that part, their order is uniform, and the test bets along that order alone, so
it calls c OK with probability at most alpha / K, at whatever time it is read (Ville; statistics/betting.py). It is the
same test whenever c is tried again: the same items in the same order. So whichever candidates are confirmed, in
whatever order and however often, even by what an earlier check showed of the second part, some candidate is confirmed
wrongly with probability at most K * alpha / K. The claim is about the confirmation items as they are, a uniform draw
from the suite; a result on the first part is not a claim.

Because these items selected nothing, the numbers beside the answer are honest: the drop there, and its interval, are
those of one model that was picked without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.check.statistics.item_order import clusters_of, first_look
from finetop.core.protocol.check_result import LOWER_IS_BETTER, TargetScore
from finetop.core.protocol.runs import RemedyRow

if TYPE_CHECKING:
    from finetop.core.check.statistics.verdict import CheckPlan

# Items; an unchanged model needs 449 of 1,000 on average, one that loses 1 point 655.
CHOOSING_MOST = 1000
LEAST_FRESH = 64  # one interim look; on fewer items "under the limit" says almost nothing
NO_ITEMS = "no items left"


def parts(plan: CheckPlan, candidates: int) -> tuple[CheckPlan, CheckPlan | None]:
    """Split a check into one for selection and one for confirmation; None if too few items would be left for either.

    `candidates` is how many there can be: the second spends alpha / candidates.
    """
    clusters = clusters_of(plan.order)
    choosing = first_look(clusters, choosing_items(len(plan.order)))
    fresh = plan.order[len(choosing) :]
    if len(choosing) < LEAST_FRESH or len(fresh) < LEAST_FRESH:
        return _part(plan, plan.order, "choosing", plan.alpha), None
    confirming = f"confirming, one of {candidates}"
    fresh_part = _part(plan, fresh, confirming, plan.alpha / candidates)
    return _part(plan, choosing, "choosing", plan.alpha), fresh_part


def choosing_items(items: int) -> int:
    """Return how many of a suite's items are for selection."""
    return min(CHOOSING_MOST, items // 2)


def _part(plan: CheckPlan, order: Sequence[object], what: str, alpha: float) -> CheckPlan:
    digest = sha256(f"{plan.hash} {len(order)} {what}".encode()).hexdigest()
    return msgspec.structs.replace(plan, order=tuple(order), alpha=alpha, hash=digest)


def gained(reached: Mapping[Any, TargetScore]) -> dict[str, float]:
    """Return the metrics in which tuning proved a gain, each with share 1: the model as it is keeps all of it.

    If none is proven (by an interval without 0), those that seem to gain. A metric without a gain has no share to keep.
    """
    gain_and_low = {
        metric: (pair.base - pair.tuned, -pair.high)
        if metric in LOWER_IS_BETTER
        else (pair.tuned - pair.base, pair.low)
        for metric, pair in reached.items()
    }
    low_by_metric = {metric: low for metric, (gain, low) in gain_and_low.items() if gain > 0}
    return dict.fromkeys([metric for metric, low in low_by_metric.items() if low > 0] or low_by_metric, 1.0)


def shares(
    reached: Mapping[Any, float], base: Mapping[Any, float], now: Mapping[str, float], metrics: Iterable[str]
) -> dict[str, float]:
    """Return the share of tuning's gain that is kept by each metric; 1 for the model as it is."""
    return {
        metric: (reached[metric] - base[metric]) / (now[metric] - base[metric])
        for metric in metrics
        if metric in reached and base.get(metric) != now.get(metric) and metric in base and metric in now
    }


def ranked(rows: Sequence[RemedyRow]) -> list[RemedyRow]:
    """Return those proven OK, sorted by the least gain kept, largest first; without a target the strongest first."""
    fine = [row for row in rows if row.verdict == "ok"]
    return sorted(fine, key=lambda row: -(row.gain if row.gain is not None else 0.0))


def best(rows: Sequence[RemedyRow]) -> RemedyRow | None:
    """Return the confirmed best, else the best so far: the first that was not refuted on fresh items."""
    order = ranked(rows)
    confirmed = [row for row in order if row.confirmation == "ok"]
    open_ones = [row for row in order if row.confirmation not in ("regressed", "no_verdict")]
    return next(iter(confirmed or open_ones), None)
