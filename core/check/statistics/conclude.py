"""Sums a check up: the verdict, its reason and claims, and every number reported beside them."""

from __future__ import annotations

from collections import Counter
from math import exp, log, nextafter, sqrt
from typing import TYPE_CHECKING

from finetop.core.check.statistics.betting import BETS, confidence_sequence, suite_interval
from finetop.core.check.statistics.paired_tests import (
    Flips,
    count_flips,
    errors_of,
    level_at_the_end,
    mcnemar_p,
    more_items,
    power_of,
    sum_flips,
)
from finetop.core.check.statistics.sequential import (
    Check,
    Until,
    all_asked,
    begin,
    feed,
    is_right_or_wrong,
    next_items,
    pool_decision,
    sample_of_pool,
    sample_of_task,
    suspicious_tasks,
    verdict_so_far,
    weighed,
)
from finetop.core.check.statistics.verdict import (
    CheckPlan,
    PairedItem,
    TaskPlan,
    claims_of,
    left_out,
    no_verdict,
    reason_of,
    too_few,
)
from finetop.core.protocol.check_result import CheckResult, DecidedBy, Power, TaskResult, Verdict, twice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from finetop.core.check.statistics.item_order import Item, Key

POWER_DROPS = (0.0, 0.05, 0.1)  # and twice the margin


def conclude(check: Check) -> CheckResult:
    """Sum up the check as it stands; NO VERDICT, with the reason, if nothing is proven."""
    plan = check.plan
    if check.pool is None:
        reason = " ".join(task.reason for task in plan.unmeasurable) or "No verdict. The suite has no items."
        return no_verdict(plan, reason)
    verdict: Verdict = verdict_so_far(check) or "no_verdict"
    rows = tuple(_task_result(check, task) for task in plan.tasks)
    by: DecidedBy = "" if verdict == "no_verdict" else check.pool.by
    if verdict == "regressed" and pool_decision(check) != "regressed":
        by = "task"
    seen = [item for cluster in check.clusters[: check.consumed] for item in cluster]
    drop = float(-check.pool.total / sum(check.weights[item.task] for item in seen)) if seen else None
    interval = confidence_sequence(sample_of_pool(check), plan.alpha)
    sums, _ = weighed(check, check.totals, range(check.consumed))
    everything = sum(check.weights[item.task] for item in plan.order)
    flips = sum_flips([_flips(check, task, [i for i in seen if i.task == task.name]) for task in plan.tasks])
    binary = flips.lost_corrected is not None
    power = _power(check, flips, seen) if binary and seen else ()
    reason = reason_of(verdict, by, plan, len(seen), drop, rows)
    if verdict == "no_verdict" and check.pool.decision == "ok":
        names = ", ".join(f"{name} {-100 * check.tasks[name].drop:.1f}" for name in suspicious_tasks(check))
        reason = f"stopped early: the suite's drop is under the limit, but these tasks may be lost: {names}."
    has_drop = check.pool.decision == "regressed" and all_asked(check)
    if verdict == "no_verdict" and has_drop and drop is not None:
        more = _more_items(check, len(seen))
        level = level_at_the_end(plan.alpha)
        reason = too_few(drop, len(seen), check.chance, level, more, weighted=plan.weighted)
    return CheckResult(
        verdict=verdict,
        reason=reason,
        decided_by=by,
        claims=claims_of(verdict, by, plan, interval, interval[0] > 0, power, len(seen), check.chance),
        items_used=len(seen),
        items_scored=len(check.tuned),
        base=_mean(check.base, seen, check.weights),
        tuned=_mean(check.tuned, seen, check.weights),
        drop=drop,
        interval=interval,
        suite_interval=suite_interval(check.pool, sums, everything) if seen else None,
        proven_drop=interval[0] > 0,
        lost=flips.lost,
        won=flips.won,
        lost_corrected=flips.lost_corrected,
        won_corrected=flips.won_corrected,
        mcnemar_p=mcnemar_p(flips.lost, flips.won) if binary else None,
        chance=check.chance,
        discordance=flips.discordance,
        power=power,
        tasks=(*rows, *(left_out(task) for task in plan.unmeasurable)),
        **plan.facts,
    )


def check_pairs(plan: CheckPlan, pairs: Iterable[PairedItem], *, until: Until = "all") -> CheckResult:
    """Check complete pairs at once: with every item available the suite's drop is known, and the model's is tested.

    until="decided" replays the looks and stops where a live check would have. NO VERDICT if an item of the plan
    has no pair.
    """
    by_key = {(pair.task, pair.item): pair for pair in pairs}
    missing = [item for item in plan.order if item.key not in by_key]
    if missing:
        number, first = f"{len(missing):,} of {len(plan.order):,}", f"{missing[0].task} {missing[0].item}"
        return no_verdict(plan, f"{number} items could not be joined (first: {first}).")
    base = {item.key: by_key[item.key].base for item in plan.order}
    check = begin(plan, until=until)
    while look := next_items(check):
        check = feed(check, base, {item.key: by_key[item.key].tuned for item in look})
    return conclude(check)


def _power(check: Check, flips: Flips, seen: Sequence[Item]) -> tuple[Power, ...]:
    """Estimate the power of the items used, from the flips that cancel out, which an unchanged model would show too.

    A check that stopped early has the power of the items it used, not of the whole suite.
    """
    both_ways = 2 * (min(flips.lost, flips.won) + 1) / (flips.items + 2)
    plan, items = check.plan, Counter(item.task for item in seen)
    drops = [
        drop for drop in sorted({*POWER_DROPS, twice(plan.margin)}) if drop == 0 or plan.margin < drop <= 1
    ]
    counts = [(count, check.weights[task]) for task, count in items.items()]
    return power_of(counts, plan.margin, plan.alpha, both_ways, drops)


def _more_items(check: Check, used: int) -> int | None:
    """Return how many more items would prove the drop seen, if the rest behave alike; see `more_items`."""
    sums, _ = weighed(check, check.totals, check.totals)
    changes = list(map(float, sums))
    alpha = check.plan.alpha
    # wealth grows as exp(errors^2 / 2) at the best stake of all
    of_bets = sqrt(2 * log(2 * len(BETS) / alpha))
    bar = errors_of(level_at_the_end(alpha)) if is_right_or_wrong(check) else of_bets
    return more_items(used, -sum(changes), sum(change**2 for change in changes), bar)


def _task_result(check: Check, task: TaskPlan) -> TaskResult:
    """Return a measurable task's row of the results."""
    places = [place for place in sorted(check.totals) if check.clusters[place][0].task == task.name]
    seen = [item for place in places for item in check.clusters[place]]
    evidence, alike = check.tasks[task.name], {task.name: 1}
    flips = _flips(check, task, seen)
    return TaskResult(
        task=task.name,
        mark=evidence.mark,
        n=evidence.n,
        total=evidence.total,
        base=_mean(check.base, seen, alike),
        tuned=_mean(check.tuned, seen, alike),
        drop=evidence.drop if seen else None,
        interval=_interval_of(check, task) if seen else None,
        lost=flips.lost,
        won=flips.won,
        lost_corrected=flips.lost_corrected,
        won_corrected=flips.won_corrected,
        mcnemar_p=mcnemar_p(flips.lost, flips.won) if flips.lost_corrected is not None else None,
        e_value=exp(min(evidence.of_drop, 700.0)) if seen else None,
        weight=task.weight if check.plan.weighted else 1.0,  # only ratios matter
    )


def _interval_of(check: Check, task: TaskPlan) -> tuple[float, float]:
    """Bound a task's drop in line with its mark: the low end at alpha/2, as a loss is proven, the high end at alpha.

    A mark stands even if its evidence falls later, so the drops it has refuted stay out.
    """
    plan, mark = check.plan, check.tasks[task.name].mark
    low, high = confidence_sequence(sample_of_task(check, task.name), plan.alpha, plan.alpha)
    if mark == "lost":
        return max(low, nextafter(0.0, 1.0)), high
    return low, min(high, nextafter(plan.margin, 0.0)) if mark == "kept" else high


def _flips(check: Check, task: TaskPlan, seen: Sequence[Item]) -> Flips:
    base, tuned = ([scores[item.key] for item in seen] for scores in (check.base, check.tuned))
    return count_flips(base, tuned, task.chance)


def _mean(scores: Mapping[Key, float], items: Sequence[Item], weights: Mapping[str, int]) -> float | None:
    total = sum(weights[item.task] for item in items)
    return sum(weights[item.task] * scores[item.key] for item in items) / total if items else None
