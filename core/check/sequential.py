"""The check, look by look: a plan and the base's scores, then the tuned model's as they come, to a verdict.

**Alpha.** REGRESSED can be proven by the pool or by a task, and each gets alpha/2, so that it is wrong with
probability at most alpha (wrong: the pool says so of a suite whose drop is under the margin, or a task is
marked lost whose ability did not fall). OK is proven by the pool alone, at alpha. For a given suite only one
of the two can be wrong. A task is lost when "its ability did not fall" is refuted by e-Holm over all
measurable tasks at alpha/2 and its estimate is the margin or more; it is kept when "it fell by the margin or
more" is refuted at alpha, for that task alone (a kept mark decides nothing). Evidence counts at its peak over
the looks, as Ville's inequality allows, so that a proof is not lost again.

**When it stops.** At REGRESSED, from either source, at once: nothing can take it back. At OK only when no
task could still turn out lost. A task is suspicious when it is open, its estimate is the margin or more, and
its evidence, going on to grow at the pace so far, would pass the bar by its last item. Then items of
suspicious tasks alone are asked for, in the order of the permutation, until each is lost, looks harmless or
is used up; the pool's answer stands meanwhile. Evidence from betting holds at whatever moment one stops, so
choosing that moment by the data costs no error. (Were every open task above the margin suspicious, noise
alone would send most unchanged models through the whole suite.)

**Going on.** `until="all"` asks for every item. What the last items make certain overrules what was proven
before.

The pool test bets along the permutation without a gap, so items scored out of turn wait for their place.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from math import log
from typing import TYPE_CHECKING, Literal

from finetop.core.check.betting import (
    Exact,
    PoolTest,
    Sample,
    begin_pool,
    exact,
    feed_pool,
    holm,
    log_mean_exp,
    log_wealth_of_drop,
    log_wealth_under,
    sample,
)
from finetop.core.check.permutation import (
    Cluster,
    Item,
    Key,
    clusters_of,
    looks_of,
)
from finetop.core.check.planning import score_of, valid_score
from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from finetop.core.check.verdict import (
        CheckPlan,
        Mark,
        Verdict,
    )

Until = Literal["decided", "all"]


@dataclass(frozen=True)
class TaskEvidence:
    """What is known of one task so far; evidence is logarithmic, at its peak over the looks."""

    n: int = 0
    total: int = 0
    drop: float = 0.0
    of_drop: float = 0.0
    under_margin: float = 0.0
    projected: float = 0.0  # of_drop by the task's last item, at the pace so far
    mark: Mark = "open"


@dataclass(frozen=True)
class Check:
    """A check under way. `feed` makes the next one; nothing here is changed in place."""

    plan: CheckPlan
    base: Mapping[Key, float]
    until: Until
    clusters: tuple[Cluster, ...]
    pool: PoolTest | None  # None where no task is measurable
    cluster_of: Mapping[Key, int]
    tuned: Mapping[Key, float] = field(default_factory=dict)
    totals: Mapping[int, Exact] = field(default_factory=dict)  # complete clusters: sum of tuned - base
    consumed: int = 0  # clusters the pool has seen: the longest prefix of the permutation without a gap
    tasks: Mapping[str, TaskEvidence] = field(default_factory=dict)


def begin(plan: CheckPlan, base: Mapping[Key, float], *, until: Until = "decided") -> Check:
    """Start a check with the base's scores of every item of the plan."""
    clusters = clusters_of(plan.order)
    scores = {item.key: score_of(base, item, "base") for item in plan.order}
    totals: dict[str, int] = defaultdict(int)
    for item in plan.order:
        totals[item.task] += 1
    pool = None
    if clusters:
        pool = begin_pool(
            exact(plan.margin),
            [len(cluster) for cluster in clusters],
            alpha_regressed=plan.alpha / 2,
            alpha_ok=plan.alpha,
        )
    return Check(
        plan=plan,
        base=scores,
        until=until,
        clusters=clusters,
        pool=pool,
        cluster_of={item.key: place for place, cluster in enumerate(clusters) for item in cluster},
        tasks={task.name: TaskEvidence(total=totals[task.name]) for task in plan.tasks},
    )


def go_on(check: Check) -> Check:
    """Ask for every item that is left, whatever is proven already."""
    return replace(check, until="all")


def next_items(check: Check) -> tuple[Item, ...]:
    """Give the next look: the items to score on the tuned model now; none once the check has finished."""
    left = [cluster for place, cluster in enumerate(check.clusters) if place not in check.totals]
    if check.until == "decided" and check.pool and (check.pool.decision or _lost(check)):
        wanted = set() if _proven(check) == "regressed" else set(suspicious_tasks(check))
        left = [cluster for cluster in left if cluster[0].task in wanted]
    looks = looks_of(left, check.plan.look_items)
    return looks[0] if looks else ()


def feed(check: Check, tuned: Mapping[Key, float]) -> Check:
    """Take in the tuned model's scores of a look (or of any items of the plan not fed before) and weigh them.

    Raises BadInput for an item that is not in the plan or comes again, or a score that is not in [0, 1].
    """
    for task, item in tuned:
        if (task, item) not in check.cluster_of:
            raise BadInput(
                f"{task}: item {item} is not in the plan.", hint="Score the items that next_items gives."
            )
        if (task, item) in check.tuned:
            raise BadInput(f"{task}: item {item} has a score already.", hint="Feed each item once.")
    known = {**check.tuned, **{key: valid_score(key, score, "tuned") for key, score in tuned.items()}}
    totals = dict(check.totals)
    for place in sorted({check.cluster_of[key] for key in tuned}):
        cluster = check.clusters[place]
        if all(item.key in known for item in cluster):
            totals[place] = sum((exact(known[i.key]) - exact(check.base[i.key]) for i in cluster), 0)
    consumed = check.consumed
    while consumed in totals:
        consumed += 1
    fresh = range(check.consumed, consumed)
    pool = check.pool and feed_pool(
        check.pool, [totals[place] for place in fresh], [len(check.clusters[place]) for place in fresh]
    )
    moved = replace(check, tuned=known, totals=totals, consumed=consumed, pool=pool)
    return replace(moved, tasks=_weigh_tasks(moved))


def verdict_so_far(check: Check) -> Verdict | None:
    """Give what is proven by now; None while it is open, also while a suspicious task holds back an OK."""
    if check.pool is None:
        return "no_verdict"
    proven = _proven(check)
    if proven == "ok" and suspicious_tasks(check):
        return None
    return proven


def suspicious_tasks(check: Check) -> tuple[str, ...]:
    """Name the open tasks whose estimate is the margin or more and which items left could prove lost."""
    bar = log(2 * len(check.tasks) / check.plan.alpha) if check.tasks else 0.0
    return tuple(
        name
        for name, task in check.tasks.items()
        if task.mark == "open"
        and task.drop >= check.plan.margin
        and task.n < task.total
        and task.projected >= bar
    )


def _proven(check: Check) -> Verdict | None:
    """Give what pool and tasks prove, heedless of suspicious tasks."""
    if _lost(check):
        return "regressed"
    return check.pool.decision if check.pool else None


def _lost(check: Check) -> bool:
    return any(task.mark == "lost" for task in check.tasks.values())


def _weigh_tasks(check: Check) -> dict[str, TaskEvidence]:
    """Bring every task's evidence up to date and mark the tasks."""
    places: dict[str, list[int]] = defaultdict(list)
    for place in check.totals:
        places[check.clusters[place][0].task].append(place)
    weighed: dict[str, TaskEvidence] = {}
    for name, before in check.tasks.items():
        n = sum(len(check.clusters[place]) for place in places[name])
        if n == before.n:
            weighed[name] = before
            continue
        drawn = sample_of(check, places[name])
        of_drop = log_wealth_of_drop(drawn, 0.0)
        under = float(log_mean_exp(log_wealth_under(drawn, check.plan.margin)))
        weighed[name] = replace(
            before,
            n=n,
            drop=float(-sum((check.totals[place] for place in places[name]), 0) / n),
            of_drop=max(before.of_drop, float(log_mean_exp(of_drop))),
            under_margin=max(before.under_margin, under),
            projected=float(log_mean_exp(of_drop * (before.total / n))),
        )
    fallen = holm({name: task.of_drop for name, task in weighed.items()}, check.plan.alpha / 2)
    return {
        name: replace(task, mark=_mark(check.plan, task, name in fallen)) for name, task in weighed.items()
    }


def _mark(plan: CheckPlan, task: TaskEvidence, fallen: bool) -> Mark:
    if fallen and task.drop >= plan.margin:
        return "lost"
    return "kept" if task.under_margin >= -log(plan.alpha) else "open"


def sample_of(check: Check, places: Iterable[int]) -> Sample:
    """Gather complete clusters as fresh draws."""
    chosen = list(places)
    largest = check.pool.largest if check.pool else 1
    return sample(
        [check.totals[place] for place in chosen], [len(check.clusters[place]) for place in chosen], largest
    )
