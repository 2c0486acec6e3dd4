"""Fixes a check before any tuned score is seen: which items, which tasks can show a drop, in which order, hashed."""

from __future__ import annotations

from fractions import Fraction
from math import gcd, isfinite, lcm
from typing import TYPE_CHECKING

from finetop.core.check.statistics.betting import require_margin, spend_alpha
from finetop.core.check.statistics.item_order import Item, Key, cap_items, clusters_of, hash_plan, permute
from finetop.core.check.statistics.paired_tests import measure
from finetop.core.check.statistics.verdict import CheckPlan, TaskPlan, Unmeasurable
from finetop.core.errors import BadInput
from finetop.core.protocol.check_result import ALPHA, MARGIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from finetop.core.check.statistics.item_order import Stages
    from finetop.core.check.statistics.paired_tests import Measured

    Scores = Mapping[Key, float]


def choose_items(
    items: Iterable[Item], *, cap: int | None, seed: int, excluded: Iterable[Key] = ()
) -> tuple[Item, ...]:
    """Choose the items that can be asked: none of the excluded, at most `cap` of each task."""
    out = set(excluded)
    return cap_items((item for item in items if item.key not in out), cap, seed)


def whole_weights(tasks: Sequence[TaskPlan]) -> dict[str, int]:
    """Return each task's weight as the smallest whole numbers in the same ratio: 0.5 and 1.5 are 1 and 3.

    So sums of binary scores stay integers, and equal weights of any size are 1. Raises BadInput if a weight is not
    a number above 0.
    """
    for task in tasks:
        if not isfinite(task.weight) or task.weight <= 0:
            hint = "Give a number above 0; 1 is usual."
            raise BadInput(f"{task.name}: its weight is {task.weight:g}.", hint=hint)
    read = [Fraction(repr(float(task.weight))) for task in tasks]
    common = lcm(*(weight.denominator for weight in read))
    whole = [int(weight * common) for weight in read]
    shared = gcd(*whole)
    return {task.name: weight // shared for task, weight in zip(tasks, whole, strict=True)}


def sampled(
    tasks: Sequence[TaskPlan], base: Mapping[Key, float], sample: Stages, excluded: Iterable[Key] = ()
) -> tuple[Item, ...]:
    """Return the items on which the base is measured, as far as the given scores determine them.

    A task's sample grows until the base is measurable there, or by one part that has no scores yet: score the
    missing items and call again, until all returned items have a score. Then `make_plan` has what it needs.
    """
    out = frozenset(excluded)
    named: list[Item] = []
    for task in tasks:
        so_far: Sequence[Item] = ()
        for so_far in _growing(sample.get(task.name, ()), out):
            if any(item.key not in base for item in so_far) or _measure(task, so_far, base).measurable:
                break
        named.extend(so_far)
    return tuple(named)


def _growing(parts: Iterable[Sequence[Item]], out: frozenset[Key]) -> Iterator[tuple[Item, ...]]:
    """Yield a sample as it grows, part by part."""
    so_far: tuple[Item, ...] = ()
    for part in parts:
        so_far = (*so_far, *(item for item in part if item.key not in out))
        yield so_far


def _measure(task: TaskPlan, items: Iterable[Item], base: Mapping[Key, float]) -> Measured:
    clusters = clusters_of(sorted(items, key=lambda item: item.group))
    scores = [[score_of(base, item.key, "base") for item in cluster] for cluster in clusters]
    return measure(scores, task.chance)


def _measure_growing(task: TaskPlan, samples: Iterable[Sequence[Item]], base: Scores) -> Measured:
    """Measure the base on ever more items until it is measurable or there are no more."""
    measured = measure([], task.chance)
    for items in samples:
        measured = _measure(task, items, base)
        if measured.measurable:
            break
    return measured


def make_plan(
    tasks: Sequence[TaskPlan],
    items: Iterable[Item],
    base: Mapping[Key, float],
    *,
    seed: int,
    cap: int | None,
    margin: float = MARGIN / 100,
    alpha: float = ALPHA,
    look_items: int = 64,
    excluded: Iterable[Key] = (),
    claim: int = 0,
    watch: bool = False,
    sample: Stages | None = None,
) -> CheckPlan:
    """Fix a check before looking: cap, drop the tasks that could not show a drop, permute the rest, hash.

    `items` are all of the suite's, `base` the base's scores of at least those that `choose_items` picks; with a
    `sample` (item_order.sample_stages), of at least those that `sampled` returns. The sample's order says nothing of
    the permutation, so the test is exact whichever tasks are admitted. Testing after each part whether the base is
    measurable admits a guesser more often than testing once: of 500 items with four choices in 0.19 % of tasks
    instead of 0.08, with two in 0.32 instead of 0.14 (simulated). Such a task has nothing to lose and makes the pool
    a little harder to move; no error rate grows.
    `claim` 0 is the run's only claim and has all of alpha; the k-th checkpoint that a claim is made about has
    alpha / (k (k + 1)); a `watch` is tested at alpha and claims nothing. Raises BadInput for a margin, alpha,
    weight or claim out of range, an item of no task, or a base score that is missing or not in [0, 1].
    """
    require_margin(margin)
    if not 0 < alpha < 1:
        raise BadInput(f"alpha is {alpha:g}.", hint=f"Give a probability between 0 and 1, say {ALPHA:g}.")
    if look_items < 1:
        raise BadInput(f"look_items is {look_items}.", hint="Give at least 1 item a look; 64 is usual.")
    if claim < 0 or (claim and watch):
        hint = "Give 0 for the run's only claim, k for its k-th, or watch for no claim."
        raise BadInput(f"claim is {claim}{' and watch is set' if watch else ''}.", hint=hint)
    weights = whole_weights(tasks)
    out = frozenset(excluded)
    by_task: dict[str, list[Item]] = {task.name: [] for task in tasks}
    for item in choose_items(items, cap=cap, seed=seed, excluded=out):
        if item.task not in by_task:
            message = f"{item.task}: item {item.item} belongs to no task of the plan."
            raise BadInput(message, hint="Name its task.")
        by_task[item.task].append(item)
    kept: list[TaskPlan] = []
    unmeasurable: list[Unmeasurable] = []
    for task in tasks:
        samples = [by_task[task.name]] if sample is None else _growing(sample.get(task.name, ()), out)
        seen = _measure_growing(task, samples, base)
        if seen.measurable:
            kept.append(task)
        else:
            unmeasurable.append(Unmeasurable(task.name, seen.items, seen.base, seen.stderr, task.chance))
    order = permute((item for task in kept for item in by_task[task.name]), seed)
    digest = hash_plan(
        margin=margin,
        alpha=alpha,
        metrics=[(task.name, task.metric, task.chance) for task in tasks],
        cap=cap,
        seed=seed,
        look_items=look_items,
        order=order,
        excluded=sorted(out),
        weights=weights,
        claim=claim,
        watch=watch,
        sample=sample,
    )
    return CheckPlan(
        margin=margin,
        alpha=spend_alpha(alpha, claim) if claim else alpha,
        alpha_total=alpha,
        claim=claim,
        watch=watch,
        seed=seed,
        cap=cap,
        look_items=look_items,
        tasks=tuple(kept),
        order=order,
        unmeasurable=tuple(unmeasurable),
        excluded=tuple(sorted(out)),
        hash=digest,
    )


def score_of(scores: Mapping[Key, float], key: Key, model: str) -> float:
    """Return an item's score. Raises BadInput if it is missing or not in [0, 1]."""
    if key not in scores:
        hint = "Score it on both models first."
        raise BadInput(f"{key[0]}: item {key[1]} has no {model} score.", hint=hint)
    return valid_score(key, scores[key], model)


def valid_score(key: Key, score: float, model: str) -> float:
    """Return the score. Raises BadInput if it is not in [0, 1]."""
    if not isfinite(score) or not 0 <= score <= 1:
        hint = "Only scores in [0, 1] can decide; unbounded ones (perplexity) never do."
        raise BadInput(f"{key[0]}: item {key[1]} has the {model} score {score}.", hint=hint)
    return float(score)
