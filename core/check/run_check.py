"""One check from start to verdict: the base measured on a sample, then both models, look by look, until decided.

The base is scored on what the looks ask for and no more. Running out of memory halves the batches, and both
models are scored anew in the smaller ones. Whatever was scored stays in the cache, where a later check of
another model fills up what is missing of the base.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from finetop.core.check.build_result import assemble
from finetop.core.check.context import open_paper
from finetop.core.check.model_pair import as_tuned, open_candidates
from finetop.core.check.scoring import drift, noise_floor as noise, target
from finetop.core.check.scoring.batch_plan import BatchPlan, halve_until_it_fits
from finetop.core.check.scoring.batches import LOOK_ITEMS, Examinee
from finetop.core.check.scoring.scorer import packs_exactly, plan_for
from finetop.core.check.scoring_passes import (
    Pace,
    Sheet,
    Sitting,
    rows_of,
    score_items,
    score_missing,
    score_target,
    score_windows,
    sit,
    tell_phase,
    tell_scores,
    turn,
    unscored,
)
from finetop.core.check.statistics import conclude, plan as planning, sequential
from finetop.core.models import resolve
from finetop.core.protocol.events import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from finetop.core.check.context import Paper
    from finetop.core.check.scoring.batch_plan import Name
    from finetop.core.check.statistics.item_order import Item
    from finetop.core.check.statistics.verdict import CheckPlan, CheckResult
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home

Answer = TypeVar("Answer")
BASE_AHEAD_ITEMS = 512  # a healthy model's check takes 360 to 660 where the suite is large


@dataclass(frozen=True)
class BaseSide:
    """What the base scored before the looks, under which batch plan, and how many items flip there by themselves."""

    sheet: Sheet
    plan: BatchPlan
    noise_floor: dict[str, int]
    whole: bool = False  # all items, as it can't be had any more


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
) -> dict[str, Any]:
    """Check a checkpoint against its base and give the result as plain data.

    With `more` it goes on once it is decided, until every item of these tasks was asked; of all, if it is empty.
    Raises BadInput for a recipe, suite or checkpoint that can't be used, EnvironmentTrouble where even the smallest
    batch does not fit the memory.
    """
    began = time.monotonic()
    events.write(Phase("loading model"))
    base = resolve.resolve_model(recipe.model, home, events)
    candidates = open_candidates(base, checkpoint, recipe.model.dtype, device)
    paper = open_paper(recipe, candidates, home, events, run_folder)
    found = in_smaller_batches(
        paper, lambda plan: judge(paper, take_base(paper, plan), claim=claim, watch=watch, more=more)
    )
    return {**found, "seconds": round(time.monotonic() - began, 1)}


def in_smaller_batches(paper: Paper, take: Callable[[BatchPlan], Answer]) -> Answer:
    """Do a part of a check under the device's batch plan; out of memory, do it again in rows half as long."""
    device = paper.candidates.device
    plan = plan_for(device)
    if paper.candidates.reads_rows_alone:
        plan = BatchPlan("plain", plan.row_tokens)

    def score_again(row_tokens: int) -> None:
        paper.told.clear()
        print(f"out of memory: both models are scored again in rows of {row_tokens} tokens", flush=True)

    return halve_until_it_fits(
        take, plan, device, or_else="check on a larger device", before_again=score_again
    )


def judge(
    paper: Paper,
    base: BaseSide,
    *,
    claim: int = 0,
    watch: bool = False,
    more: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Score both models until the check is decided, and `more`; give the result as plain data."""
    before = base_sitting(paper, base)
    after = tuned_sitting(paper, base)
    check_plan = plan_of(paper, before, claim=claim, watch=watch)
    until: sequential.Until = "all" if more == [] else "decided"
    begun = sequential.begin(check_plan, until=until, whole_tasks=more or ())
    state = take_pairs(paper, before, after, begun)
    with turn(paper, after) as now:
        windows, reached = score_windows(paper, now.examinee), score_target(paper, now.examinee)
    result: CheckResult = conclude.conclude(state)
    kl = None
    if paper.candidates.is_adapter and paper.windows:
        with as_tuned(paper.candidates) as model:
            kl = drift.divergence(model, model.disable_adapter, paper.windows)
    return assemble(
        result,
        suite=paper.suite.name,
        exam=paper.exam,
        excluded=sorted(paper.excluded),
        notes=[*paper.notes, *_more_words(more)],
        base=before.scores,
        tuned={key: score for key, score in after.scores.items() if key in state.tuned},
        target={
            metric: target.compare(
                metric,
                rows_of(paper, metric),
                base.sheet.target[metric],
                scores,
            )
            for metric, scores in reached.items()
        },
        drift=None
        if not paper.windows
        else {
            "base": drift.nats_per_token(paper.windows, base.sheet.windows),
            "tuned": drift.nats_per_token(paper.windows, windows),
            "tokens": sum(len(window) - 1 for window in paper.windows),
            "kl": kl,
        },
        noise_floor=base.noise_floor,
        models={
            name: {**(facts or {}), "layout": base.plan.layout, "row_tokens": base.plan.row_tokens}
            for name, facts in paper.facts.items()
        },
    )


def _more_words(more: Sequence[str] | None) -> list[str]:
    if more is None:
        return []
    what = f"of {', '.join(more)}" if more else "of the suite"
    return [f"every item {what} was asked, also once the answer was proven: the same claim, on more."]


def plan_of(paper: Paper, before: Sitting, *, claim: int = 0, watch: bool = False) -> CheckPlan:
    """Fix the check: its items, their order and its bounds, from what the base has scored of the sample."""
    return planning.make_plan(
        paper.exam.plans,
        paper.exam.items,
        before.values,
        seed=paper.general.seed,
        cap=None,
        margin=paper.general.margin / 100,
        alpha=paper.general.alpha,
        look_items=LOOK_ITEMS,
        excluded=paper.excluded,
        claim=claim,
        watch=watch,
        sample=paper.exam.stages,
    )


def base_sitting(paper: Paper, base: BaseSide) -> Sitting:
    """Sit the base down to the looks, with what it has scored ahead of them."""
    return sit(paper, paper.exam, _examinee(paper, "base", base.plan), base.sheet.items)


def tuned_sitting(paper: Paper, base: BaseSide) -> Sitting:
    """Sit the tuned model down to the looks, in the base's batches."""
    return sit(paper, paper.exam, _examinee(paper, "tuned", base.plan))


def take_base(paper: Paper, plan: BatchPlan, *, whole: bool = False) -> BaseSide:
    """Score the base on what must be known before the looks, from the cache as far as that goes.

    That is the sample that says which tasks are measurable, itself in other batches, drift and target; the
    `whole` suite where the base can't be had later.
    """
    other_batches = noise.noise_exam(paper.exam, paper.candidates.device)
    with turn(paper, sit(paper, paper.exam, _examinee(paper, "base", plan))) as sitting:
        begins = (*_sampled(paper, sitting), *other_batches.items)
        if (
            plan.layout == "packed"
            and unscored(sitting, begins)
            and not packs_exactly(sitting.examinee.model())
        ):
            plan = BatchPlan("plain", plan.row_tokens)
            sitting = sit(paper, paper.exam, replace(sitting.examinee, plan=plan))
        if whole:
            score_items(paper, sitting, paper.exam.items, "scoring base")
            tell_scores(paper, sitting, paper.exam.items)
        _measure_base(paper, sitting)
        score_items(paper, sitting, other_batches.items, "measuring base")
        other = sit(paper, other_batches, noise.other_plan(sitting.examinee))
        score_items(paper, other, other_batches.items, "noise floor")
        windows = score_windows(paper, sitting.examinee)
        reached = score_target(paper, sitting.examinee)
    floor = {item.key: other.scores[item.key] for item in other_batches.items}
    flips = noise.flips(sitting.scores, floor)
    sheet = Sheet(sitting.scores, windows, reached)
    return BaseSide(sheet, plan, {"items": len(floor), "flips": flips}, whole)


def _sampled(paper: Paper, sitting: Sitting) -> tuple[Item, ...]:
    return planning.sampled(paper.exam.plans, sitting.values, paper.exam.stages, paper.excluded)


def _measure_base(paper: Paper, sitting: Sitting) -> None:
    """Score the base on ever more of each task's sample, until it is known which tasks are measurable."""
    while unscored(sitting, sample := _sampled(paper, sitting)):
        score_items(paper, sitting, sample, "measuring base")
    tell_scores(paper, sitting, sample)


def take_pairs(paper: Paper, base: Sitting, tuned: Sitting, state: sequential.Check) -> sequential.Check:
    """Score both models look by look until the check is decided.

    An adapter is switched off and on for each look. A full checkpoint and its base take each other's place
    in memory, so the base is scored ahead there: on as many items as were needed so far, so that a check of
    any length loads them a handful of times.
    """
    order, pace = state.plan.order, Pace()
    phase = "scoring base and tuned" if unscored(base, order) else "scoring tuned"

    def tell() -> None:
        left = len(unscored(base, order)) + len(unscored(tuned, order))
        tell_phase(paper, phase, len(state.tuned), len(order), pace, left)

    while look := sequential.next_items(state):
        if unscored(base, look):
            many = None if paper.candidates.is_adapter else max(BASE_AHEAD_ITEMS, len(state.tuned))
            with turn(paper, base) as now:
                score_missing(paper, now, sequential.next_items(state, many), pace, tell)
        with turn(paper, tuned) as now:
            score_missing(paper, now, look, pace, tell)
        for sitting in (base, tuned):
            tell_scores(paper, sitting, look)
        fed = [{item.key: sitting.scores[item.key].score for item in look} for sitting in (base, tuned)]
        state = sequential.feed(state, *fed)
        tell()
    return state


def _examinee(paper: Paper, name: Name, plan: BatchPlan) -> Examinee:
    return Examinee(name, paper.facts[name], _not_loaded, plan)


def _not_loaded() -> Any:
    raise AssertionError("a model is asked for outside of its turn")
