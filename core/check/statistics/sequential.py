"""The check, look by look: from a plan and both models' scores as they arrive to a verdict.

**Alpha.** REGRESSED can be proven by the pool or by a task, and each gets alpha/2, so that it is wrong with
probability at most alpha (wrong: the pool says so of a suite whose drop is under the margin, or a task is
marked lost whose ability did not fall).

**Ability.** A suite of 100 items of an unchanged model shows 3 points or more in 21 of 100 cases (10 % flips), which is
true of its items and says nothing of the model. So the pool's REGRESSED also needs "the ability did not fall" refuted,
and an unchanged model is REGRESSED with probability at most alpha, by pool, tasks and early stops together:

- Binary items, once all are asked: by the exact test of no_change.py, which counts a lost task as well, at 98 % of
alpha; before that by betting at 2 % of alpha, a bar of 1,000. The high bar costs little if a suite is large: a drop
that is proven to be the margin is mostly far from zero.
- Other scores: by betting at alpha/2, whenever one looks. Their means can stay the same while most fall a little and
few rise much; redrawn signs would call 11 to 25 % of such models of 50 to 100 items REGRESSED.

Until then more items are asked, and if they run out first there is no verdict. The final verdict depends only on the
complete set of items, so it is the same in every order.

**The rest.** OK is proven by the pool alone, at alpha. For a given suite only one
of the two can be wrong. A task is lost when "its ability did not fall" is refuted by e-Holm over all
measurable tasks at alpha/2 and its estimate is the margin or more; it is kept when "it fell by the margin or
more" is refuted at alpha, for that task alone (a kept mark decides nothing). Evidence counts at its peak over
the looks, as Ville's inequality allows; once every item of the task was asked, its final value counts, which no
order of the items changes: the stakes are constant, so the wealth is a product over items.

A task is called lost when all its items were asked, when the pool is REGRESSED without it, or when its evidence is
so far beyond the bar (a thousandfold) that no order could change it; until then its remaining items are asked. (If
it were lost at the first look that passed the bar, a suite of 7 times 96 items whose pool fell by 2.8 points and one
task by 18.8 was OK in 77 and REGRESSED in 23 of 100 orders, on all items and where it stopped; now it is OK in all.)

**When it stops.** At OK, when no task could still turn out lost. A task is suspicious when it is open, its
estimate is the margin or more, and its evidence, if it keeps growing at the pace so far, would come half-way to
the bar (of its logarithm) by its last item. Then only items of suspicious tasks are asked for, in the order
of the permutation, until each is lost, looks harmless or is used up; the pool's answer stands meanwhile.
Evidence from betting holds at whatever moment one stops, so choosing that moment by the data costs no error.
(If the whole bar were expected, a single task of seven that lost 20 points would be found in 92 of 100 checks; at
half of it in 95, for 0.5 % more items of unchanged models. If every open task above the margin were suspicious:
no better, for 5 to 10 % more items.)

At REGRESSED, from either source, immediately: nothing can reverse it. But if the pool says so, no task is lost yet
and exactly one would pass the whole bar at its pace, that one is asked on until it is settled, to be named.
(Without that, a single task of seven that lost 40 points was named in 98 of 100 checks, one that lost 20 in
91. If many tasks fall, several would pass and nothing more is asked.)

**Continuing.** `until="all"` asks for every item; of `whole_tasks` every item is asked even after an answer is proven.
Neither is another claim: the items, their order and the bounds are those fixed at first, and evidence holds at
whatever moment one stops, also if somebody saw it and wanted more. The interval narrows, and what the last items
make certain overrules what was proven before.

The pool test bets along the permutation without a gap, so items scored out of turn wait for their place.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from math import log
from typing import TYPE_CHECKING, Literal

from finetop.core.check.statistics.betting import (
    Exact,
    PoolTest,
    Sample,
    begin_pool,
    exact,
    feed_pool,
    holm,
    log_mean_exp,
    log_wealth_of_drop,
    sample,
    sample_of_tally,
)
from finetop.core.check.statistics.item_order import Cluster, Item, Key, clusters_of, first_look
from finetop.core.check.statistics.no_change import TaskChanges, chance_of_loss
from finetop.core.check.statistics.paired_tests import EARLY, is_binary, level_at_the_end
from finetop.core.check.statistics.plan import score_of, valid_score, whole_weights
from finetop.core.check.statistics.task_evidence import TaskEvidence, marked, with_clusters
from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from finetop.core.check.statistics.betting import Decision
    from finetop.core.check.statistics.verdict import CheckPlan
    from finetop.core.protocol.check_result import Verdict

Until = Literal["decided", "all"]
SURE = 1000  # beyond the bar by this factor a task is lost whatever its other items show
SUSPICIOUS = 0.5  # the share of the bar's logarithm that its evidence must be expected to reach


@dataclass(frozen=True)
class Check:
    """A check in progress. `feed` returns the next state; nothing here is changed in place."""

    plan: CheckPlan
    until: Until
    whole_tasks: frozenset[str]  # every item of these is asked, whatever is proven
    clusters: tuple[Cluster, ...]
    pool: PoolTest | None  # None if no task is measurable
    cluster_of: Mapping[Key, int]
    weights: Mapping[str, int]  # of a task's items in the pool
    largest: Mapping[str, int]  # items in a task's largest cluster
    base: Mapping[Key, float] = field(default_factory=dict)  # of the items fed so far
    tuned: Mapping[Key, float] = field(default_factory=dict)  # of the items fed so far
    totals: Mapping[int, Exact] = field(default_factory=dict)  # complete clusters: sum of tuned - base
    consumed: int = 0  # clusters the pool has seen: the longest prefix of the permutation without a gap
    tasks: Mapping[str, TaskEvidence] = field(default_factory=dict)
    # how often chance alone loses as much; set once all is asked, scores are binary and the margin is lost
    chance: float | None = None
    fell: bool = False  # "the ability did not fall" is refuted; tested only if the pool says REGRESSED


def begin(plan: CheckPlan, *, until: Until = "decided", whole_tasks: Iterable[str] = ()) -> Check:
    """Start a check with no scores yet. Raises BadInput for a task that it can't ask."""
    names = {task.name for task in plan.tasks}
    for name in whole_tasks:
        if name not in names:
            hint = f"Its tasks: {', '.join(sorted(names)) or 'none'}."
            raise BadInput(f"there is no task {name!r} that could show a drop.", hint=hint)
    clusters = clusters_of(plan.order)
    totals = Counter(item.task for item in plan.order)
    weights = whole_weights(plan.tasks)
    pool, sizes = None, [weights[cluster[0].task] * len(cluster) for cluster in clusters]
    if clusters:
        pool = begin_pool(exact(plan.margin), sizes, alpha_regressed=plan.alpha / 2, alpha_ok=plan.alpha)
    return Check(
        plan=plan,
        until=until,
        whole_tasks=frozenset(whole_tasks),
        clusters=clusters,
        pool=pool,
        cluster_of={item.key: place for place, cluster in enumerate(clusters) for item in cluster},
        weights=weights,
        largest={cluster[0].task: len(cluster) for cluster in sorted(clusters, key=len)},
        tasks={task.name: TaskEvidence(total=totals[task.name]) for task in plan.tasks},
    )


def next_items(check: Check, at_least: int | None = None) -> tuple[Item, ...]:
    """Return the next look: the items to score on both models now; empty once the check has finished.

    Returns at least `at_least` items, by default a look's size, as they would follow if nothing new were proven.
    """
    places = range(check.consumed, len(check.clusters))
    left = (check.clusters[place] for place in places if place not in check.totals)
    if check.until == "decided" and check.pool and (_proven(check) or _leaning(check)):
        wanted = {*_tasks_to_finish(check), *check.whole_tasks}
        left = (cluster for cluster in left if cluster[0].task in wanted)
    return first_look(left, check.plan.look_items if at_least is None else at_least)


def feed(check: Check, base: Mapping[Key, float], tuned: Mapping[Key, float]) -> Check:
    """Add the tuned model's scores of a look (or of any items of the plan not fed before) and evaluate them.

    `base` has the base's scores of the same items; others are ignored. Raises BadInput for an item that is not in
    the plan or comes again, or a score that is missing or not in [0, 1].
    """
    for task, item in tuned:
        if (task, item) not in check.cluster_of:
            hint = "Score the items that next_items returns."
            raise BadInput(f"{task}: item {item} is not in the plan.", hint=hint)
        if (task, item) in check.tuned:
            raise BadInput(f"{task}: item {item} has a score already.", hint="Feed each item once.")
    before = {**check.base, **{key: score_of(base, key, "base") for key in tuned}}
    known = {**check.tuned, **{key: valid_score(key, score, "tuned") for key, score in tuned.items()}}
    completed: dict[int, Exact] = {}
    for place in sorted({check.cluster_of[key] for key in tuned}):
        cluster = check.clusters[place]
        if all(item.key in known for item in cluster):
            completed[place] = sum((exact(known[i.key]) - exact(before[i.key]) for i in cluster), 0)
    totals = {**check.totals, **completed}
    consumed = check.consumed
    while consumed in totals:
        consumed += 1
    moved = replace(
        check,
        base=before,
        tuned=known,
        totals=totals,
        consumed=consumed,
        pool=check.pool and feed_pool(check.pool, *weighed(check, totals, range(check.consumed, consumed))),
    )
    judged = _judge_ability(moved)
    return replace(judged, tasks=_weigh_tasks(judged, completed))


def _judge_ability(check: Check) -> Check:
    """Test "the ability did not fall" if the pool says REGRESSED; the result replaces the previous one."""
    if check.pool is None or check.pool.decision != "regressed":
        return replace(check, chance=None, fell=False)
    alpha, right_or_wrong = check.plan.alpha, is_right_or_wrong(check)
    if right_or_wrong and all_asked(check):
        chance = chance_of_loss(_changes(check), alpha / 2)
        return replace(check, chance=chance, fell=chance <= level_at_the_end(alpha))
    share = EARLY if right_or_wrong else 0.5
    evidence = float(log_mean_exp(log_wealth_of_drop(sample_of_pool(check), 0.0)))
    return replace(check, fell=evidence >= -log(share * alpha))


def is_right_or_wrong(check: Check) -> bool:
    """Return whether every score so far is 0 or 1."""
    return is_binary([*check.base.values(), *check.tuned.values()])


def all_asked(check: Check) -> bool:
    """Return whether every item has its scores."""
    return len(check.totals) == len(check.clusters)


def _changes(check: Check) -> list[TaskChanges]:
    sums: dict[str, list[Exact]] = defaultdict(list)
    for place, total in check.totals.items():
        sums[check.clusters[place][0].task].append(total)
    by_task = sorted(sums.items())
    return [TaskChanges(tuple(own), check.largest[name], check.weights[name]) for name, own in by_task]


def pool_decision(check: Check) -> Decision | None:
    """Return what the pool proves: REGRESSED only if an unchanged model is ruled out as well."""
    if check.pool is None or (check.pool.decision == "regressed" and not check.fell):
        return None
    return check.pool.decision


def verdict_so_far(check: Check) -> Verdict | None:
    """Return what is proven by now; None while it is open, also while a suspicious task holds back an OK."""
    if check.pool is None:
        return "no_verdict"
    proven = _proven(check)
    return None if proven == "ok" and suspicious_tasks(check) else proven


def suspicious_tasks(check: Check, expected: float = SUSPICIOUS) -> tuple[str, ...]:
    """Return the open tasks whose estimate is the margin or more and which their remaining items could prove lost.

    `expected` is how far their evidence would get by their last item, as a share of the bar's logarithm.
    """
    bar = log(2 * len(check.tasks) / check.plan.alpha) if check.tasks else 0.0
    return tuple(
        name
        for name, task in check.tasks.items()
        if task.mark == "open"
        and task.drop >= check.plan.margin
        and task.n < task.total
        and (task.fallen or task.projected >= expected * bar)
    )


def _leaning(check: Check) -> tuple[str, ...]:
    """Return the tasks whose evidence is beyond the bar, and which are lost if it still is at their last item."""
    return tuple(name for name, task in check.tasks.items() if task.fallen and task.mark == "open")


def _tasks_to_finish(check: Check) -> tuple[str, ...]:
    """Return the tasks whose items are still asked although an answer is proven, or because one is beyond the bar."""
    if _proven(check) != "regressed":
        return _leaning(check) or suspicious_tasks(check)
    likely = suspicious_tasks(check, expected=1.0)
    return likely if len(likely) == 1 and not _lost(check) else ()


def _proven(check: Check) -> Verdict | None:
    """Return what pool and tasks prove, ignoring suspicious tasks."""
    return "regressed" if _lost(check) else pool_decision(check)


def _lost(check: Check) -> bool:
    return any(task.mark == "lost" for task in check.tasks.values())


def weighed(
    check: Check, totals: Mapping[int, Exact], places: Iterable[int]
) -> tuple[list[Exact], list[int]]:
    """Return clusters as the pool counts them: their sums of tuned - base and sizes, times their task's weight."""
    sums, sizes = [], []
    for place in places:
        cluster = check.clusters[place]
        weight = check.weights[cluster[0].task]
        sums.append(weight * totals[place])
        sizes.append(weight * len(cluster))
    return sums, sizes


def _weigh_tasks(check: Check, completed: Mapping[int, Exact]) -> dict[str, TaskEvidence]:
    """Update the evidence of every task with newly completed clusters and mark the tasks."""
    fresh: dict[str, list[tuple[Exact, int]]] = defaultdict(list)
    for place, change in completed.items():
        cluster = check.clusters[place]
        fresh[cluster[0].task].append((change, len(cluster)))
    weighed = dict(check.tasks)
    for name, clusters in fresh.items():
        weighed[name] = with_clusters(check.tasks[name], clusters, check.largest[name], check.plan.margin)
    evidence = {name: task.of_drop for name, task in weighed.items()}
    alpha = check.plan.alpha / 2
    proven, sure = holm(evidence, alpha), holm(evidence, alpha / SURE)
    is_regressed = pool_decision(check) == "regressed"
    return {
        name: marked(check.plan, task, is_proven=name in proven, is_sure=is_regressed or name in sure)
        for name, task in weighed.items()
    }


def sample_of_pool(check: Check) -> Sample:
    """Return what the pool has seen as fresh draws, weighted."""
    largest = check.pool.largest if check.pool else 1
    return sample(*weighed(check, check.totals, range(check.consumed)), largest)


def sample_of_task(check: Check, name: str) -> Sample:
    """Return what is known of a task as fresh draws."""
    return sample_of_tally(check.tasks[name].tally, check.largest[name])
