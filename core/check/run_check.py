"""One check from start to verdict: the base measured on a sample, then both models, look by look, until decided.

The base is scored only on the items that the looks need. Running out of memory halves the batches, and both
models are scored again in the smaller ones. All scores stay in the cache, where a later check of another model
adds the base scores that it misses.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import structs, to_builtins

from finetop.core.check.context import CheckContext, open_context
from finetop.core.check.model_pair import open_pair, put_away
from finetop.core.check.outcome import drift_of, flips_of, notes_on
from finetop.core.check.scoring import target
from finetop.core.check.scoring.batch_plan import BatchPlan, Name, halve_until_it_fits
from finetop.core.check.scoring.batches import LOOK_ITEMS, Batch, ScoredModel
from finetop.core.check.scoring.scorer import packs_exactly, plan_for
from finetop.core.check.scoring_passes import (
    ModelScores,
    Pace,
    Scoring,
    open_scoring,
    report_phase,
    report_scores,
    rows_of,
    score_items,
    score_missing,
    score_target,
    score_windows,
    unscored,
    with_model,
)
from finetop.core.check.statistics import conclude, plan as planning, sequential
from finetop.core.check.statistics.item_order import Item
from finetop.core.check.statistics.paired_tests import count_categories
from finetop.core.check.statistics.verdict import CheckPlan
from finetop.core.models import resolve
from finetop.core.protocol.check_result import CheckResult, Contamination, NoiseFloor
from finetop.core.protocol.events import Phase
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from finetop.core.runtime.event_log import EventLog

Answer = TypeVar("Answer")
NOISE_ITEMS = 128
NOISE_ITEMS_CPU = 48  # under 10 s on two cores for a model of 135M parameters
BASE_AHEAD_ITEMS = 512  # a healthy model's check takes 360 to 660 where the suite is large


@dataclass(frozen=True)
class BaseScores:
    """The base's scores from before the looks, their batch plan, and how many items flip there by themselves."""

    scores: ModelScores
    plan: BatchPlan
    noise_floor: NoiseFloor
    whole: bool = False  # all items are scored, because the base is not available later


def check(
    recipe: Recipe,
    checkpoint: Path,
    home: Home,
    device: str,
    events: EventLog,
    *,
    claim: int = 0,
    watch: bool = False,
    more: Sequence[str] | None = None,
    run_folder: Path | None = None,
) -> CheckResult:
    """Check a checkpoint against its base.

    With `more` it continues after the decision until every item of these tasks is scored; of all tasks, if empty.
    Raises BadInput for a recipe, suite or checkpoint that can't be used, EnvironmentTrouble if even the smallest
    batch does not fit in memory.
    """
    began = time.monotonic()
    events.write(Phase("loading model"))
    base = resolve.resolve_model(recipe.model, home, events)
    pair = open_pair(base, checkpoint, recipe.model.dtype, device)
    context = open_context(recipe, pair, home, events, run_folder)

    def work(plan: BatchPlan) -> CheckResult:
        context.ahead, context.passes_s = items_ahead(context, plan), 0.0
        base = score_base(context, plan)
        return score_until_decided(context, base, claim=claim, watch=watch, more=more)

    try:
        result = in_smaller_batches(context, work)
    finally:
        put_away(pair)
    return structs.replace(result, seconds=round(time.monotonic() - began, 1))


def items_ahead(context: CheckContext, plan: BatchPlan) -> int:
    """Count what a check has to score at most, in all its phases: items, drift windows and rows of the target."""
    items = context.prepared.items
    names: tuple[Name, ...] = ("base", "tuned")
    scorings = [open_scoring(context, context.prepared, _scored_model(context, name, plan)) for name in names]
    missing = sum(len(unscored(scoring, items)) for scoring in scorings)
    return missing + len(first_items(context)) + len(scorings) * _rows_of_passes(context)


def _rows_of_passes(context: CheckContext) -> int:
    """Count the drift windows and the rows of the target by all its metrics."""
    wanted = context.recipe.check.target
    metrics = wanted.metrics if wanted and context.target_rows else ()
    return len(context.windows) + sum(len(rows_of(context, metric)) for metric in metrics)


def in_smaller_batches(context: CheckContext, take: Callable[[BatchPlan], Answer]) -> Answer:
    """Run part of a check under the device's batch plan; on out of memory, repeat with rows half as long."""
    device = context.pair.device
    plan = replace(plan_for(device, context.engine), copy=context.copy)
    if context.pair.reads_rows_alone:
        plan = replace(plan, layout="plain")

    def score_again(row_tokens: int) -> None:
        context.reported.clear()
        print(f"out of memory: both models are scored again in rows of {row_tokens} tokens", flush=True)

    with context.copy or nullcontext():
        or_else = "check on a larger device"
        return halve_until_it_fits(take, plan, device, or_else=or_else, before_again=score_again)


def score_until_decided(
    context: CheckContext,
    base: BaseScores,
    *,
    claim: int = 0,
    watch: bool = False,
    more: Sequence[str] | None = None,
) -> CheckResult:
    """Score both models until the check is decided, and then the items of `more`."""
    before = base_scoring(context, base)
    after = tuned_scoring(context, base)
    check_plan = plan_of(context, before, claim=claim, watch=watch)
    until: sequential.Until = "all" if more == [] else "decided"
    begun = sequential.begin(check_plan, until=until, whole_tasks=more or ())
    state = score_pairs(context, before, after, begun)
    of_base = context.target_failed
    with with_model(context, after) as now:
        windows, reached = score_windows(context, now.scored_model), score_target(context, now.scored_model)
    target_failed, context.target_failed = context.target_failed, of_base
    seen = {key: score for key, score in after.scores.items() if key in state.tuned}
    return structs.replace(
        conclude.conclude(state),
        noise_floor=base.noise_floor,
        suite=context.suite.name,
        target={
            metric: target.compare(metric, rows_of(context, metric), base.scores.target[metric], scores)
            for metric, scores in reached.items()
            if metric in base.scores.target
        },
        target_failed=target_failed,
        drift=drift_of(context, base.scores.windows, windows),
        contamination=Contamination(
            len(context.excluded), dict(Counter(task for task, _ in sorted(context.excluded)))
        ),
        notes=(*context.notes, *notes_on(more)),
        flips=flips_of(context.prepared, before.scores, seen),
        categories=count_categories(
            (key[0], context.prepared.requests[key].category, before.scores[key].score, score.score)
            for key, score in seen.items()
        ),
        models={
            name: {**(facts or {}), **base.plan.facts(writes=True)} for name, facts in context.facts.items()
        },
        general=to_builtins(context.general),
    )


def plan_of(context: CheckContext, before: Scoring, *, claim: int = 0, watch: bool = False) -> CheckPlan:
    """Fix the check's items, order and bounds from the base's scores on the sample."""
    return planning.make_plan(
        context.prepared.plans,
        context.prepared.items,
        before.values,
        seed=context.general.seed,
        cap=None,
        margin=context.general.margin / 100,
        alpha=context.general.alpha,
        look_items=LOOK_ITEMS,
        excluded=context.excluded,
        claim=claim,
        watch=watch,
        sample=context.prepared.stages,
    )


def base_scoring(context: CheckContext, base: BaseScores) -> Scoring:
    """Open the base's scoring for the looks, with the scores it already has."""
    model = _scored_model(context, "base", base.plan)
    return open_scoring(context, context.prepared, model, base.scores.items)


def tuned_scoring(context: CheckContext, base: BaseScores) -> Scoring:
    """Open the tuned model's scoring for the looks, in the base's batches."""
    return open_scoring(context, context.prepared, _scored_model(context, "tuned", base.plan))


def score_base(context: CheckContext, plan: BatchPlan, *, whole: bool = False) -> BaseScores:
    """Score what must be known of the base before the looks, from the cache as far as possible.

    That is the sample that shows which tasks are measurable, its noise floor, drift and target; and the `whole`
    suite if the base is not available later.
    """
    first = first_items(context)
    begun = open_scoring(context, context.prepared, _scored_model(context, "base", plan))
    with with_model(context, begun) as scoring:
        begins = (*_sampled(context, scoring), *first)
        is_new = plan.layout == "packed" and unscored(scoring, begins)
        if is_new and not packs_exactly(scoring.scored_model.model()):
            plan = replace(plan, layout="plain")
            scoring = open_scoring(context, context.prepared, replace(scoring.scored_model, plan=plan))
        if whole:
            score_items(context, scoring, context.prepared.items, "scoring base")
            report_scores(context, scoring, context.prepared.items)
        _measure_base(context, scoring)
        floor = measure_noise(context, scoring, first)
        windows = score_windows(context, scoring.scored_model)
        reached = score_target(context, scoring.scored_model)
    return BaseScores(ModelScores(scoring.scores, windows, reached), plan, floor, whole)


def first_items(context: CheckContext, *, written: bool = False) -> tuple[Item, ...]:
    """Return the first items of the suite, or of those with written answers."""
    most = NOISE_ITEMS_CPU if context.pair.device.startswith("cpu") else NOISE_ITEMS
    prepared = context.prepared
    if not written:
        return prepared.items[:most]
    return tuple(item for item in prepared.items if prepared.tasks[item.task].kind == "generation")[:most]


def measure_noise(context: CheckContext, base: Scoring, first: Sequence[Item]) -> NoiseFloor:
    """Count the items that flip on the base by themselves: in batches of another size and order, and between engines.

    Such flips mean nothing. The exact engine writes the first answers again if another wrote them.
    """
    prepared, plan = base.prepared, base.scored_model.plan
    batches = tuple(
        Batch(name, tuple(item.item for item in reversed(first) if item.task == name))
        for name in prepared.tasks
    )
    mixed = replace(prepared, items=tuple(first), batches=tuple(batch for batch in batches if batch.items))
    other = replace(base.scored_model, plan=replace(plan, row_tokens=plan.row_tokens // 3))
    flips = _flips(context, base, open_scoring(context, mixed, other), first)
    if plan.engine == "exact":
        return NoiseFloor(len(first), flips)
    answers = first_items(context, written=True)
    exact = replace(base.scored_model, plan=replace(plan, engine="exact"))
    flipped = _flips(context, base, open_scoring(context, prepared, exact), answers)
    return NoiseFloor(len(first), flips, plan.engine, len(answers), flipped)


def _flips(context: CheckContext, base: Scoring, other: Scoring, items: Sequence[Item]) -> int:
    """Count the items that the base scores differently in the other batches; missing scores are computed."""
    score_items(context, base, items, "measuring base")
    score_items(context, other, items, "noise floor")
    return sum(base.scores[item.key].score != other.scores[item.key].score for item in items)


def _sampled(context: CheckContext, scoring: Scoring) -> tuple[Item, ...]:
    return planning.sampled(context.prepared.plans, scoring.values, context.prepared.stages, context.excluded)


def _measure_base(context: CheckContext, scoring: Scoring) -> None:
    """Score the base on a growing sample of each task until it is known which tasks are measurable."""
    while unscored(scoring, sample := _sampled(context, scoring)):
        score_items(context, scoring, sample, "measuring base")
    report_scores(context, scoring, sample)


def score_pairs(
    context: CheckContext, base: Scoring, tuned: Scoring, state: sequential.Check
) -> sequential.Check:
    """Score both models look by look until the check is decided.

    An adapter is switched off and on for each look. A full checkpoint and its base replace each other in
    memory, so there the base is scored ahead, on as many items as were needed so far: a check of any length
    loads them only a handful of times.
    """
    order, pace = state.plan.order, Pace()
    if (
        context.ahead is not None
    ):  # of the measurable tasks alone; how long the base's passes took is known by now
        passes = 0 if context.passes_s else _rows_of_passes(context)
        context.ahead = len(unscored(base, order)) + len(unscored(tuned, order)) + passes
    phase = "scoring base and tuned" if unscored(base, order) else "scoring tuned"

    def report() -> None:
        left = len(unscored(base, order)) + len(unscored(tuned, order))
        report_phase(context, phase, len(state.tuned), len(order), pace, left)

    while look := sequential.next_items(state):
        if unscored(base, look):
            many = None if context.pair.is_adapter else max(BASE_AHEAD_ITEMS, len(state.tuned))
            with with_model(context, base) as now:
                score_missing(context, now, sequential.next_items(state, many), pace, report)
        with with_model(context, tuned) as now:
            score_missing(context, now, look, pace, report)
        for scoring in (base, tuned):
            report_scores(context, scoring, look)
        fed = [{item.key: scoring.scores[item.key].score for item in look} for scoring in (base, tuned)]
        state = sequential.feed(state, *fed)
        report()
    return state


def _scored_model(context: CheckContext, name: Name, plan: BatchPlan) -> ScoredModel:
    return ScoredModel(name, context.facts[name], _not_loaded, plan)


def _not_loaded() -> Any:
    raise AssertionError("a model is used outside of with_model")
