"""One check from start to verdict: the base scored in full, then the tuned model, look by look, until decided.

Running out of memory halves the batches, and both models are scored anew in the smaller ones. Whatever was
scored stays in the cache.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from finetop.core import models
from finetop.core.check.candidates import as_tuned, free_memory, open_candidates
from finetop.core.check.deciding import conclusion, planning, sequential
from finetop.core.check.outcome import assemble
from finetop.core.check.paper import open_paper
from finetop.core.check.passes import (
    LoadedWhenAsked,
    Sheet,
    is_missing,
    score_into,
    score_items,
    score_target,
    score_windows,
    tell_phase,
    tell_scores,
)
from finetop.core.check.scoring import drift, noise, target
from finetop.core.check.scoring.cells import LOOK_ITEMS, Examinee, keys_of, known
from finetop.core.check.scoring.scorer import LEAST_ROW_TOKENS, BatchPlan, packs_exactly, plan_for
from finetop.core.errors import EnvironmentTrouble
from finetop.core.events import Phase
from finetop.core.train import failures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finetop.core.check.candidates import Name
    from finetop.core.check.deciding.verdict import CheckResult
    from finetop.core.check.paper import Paper
    from finetop.core.events import EventLog
    from finetop.core.home import Home
    from finetop.core.recipe.schema import Recipe

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class BaseSide:
    """What the base scored, under which batch plan, and how many items flip there by themselves."""

    sheet: Sheet
    plan: BatchPlan
    noise_floor: dict[str, int]


def check(
    recipe: Recipe,
    checkpoint: Path,
    home: Home,
    device: str,
    events: EventLog,
    *,
    claim: int = 0,
    watch: bool = False,
) -> dict[str, Any]:
    """Check a checkpoint against its base and give the result as plain data.

    Raises BadInput for a recipe, suite or checkpoint that can't be used, EnvironmentTrouble where even the
    smallest batch does not fit the memory.
    """
    began = time.monotonic()
    events.write(Phase("loading model"))
    base = models.resolve(recipe.model, home, events)
    candidates = open_candidates(base, checkpoint, recipe.model.dtype, device)
    paper = open_paper(recipe, candidates, home, events)
    found = in_smaller_batches(
        paper, lambda plan: judge(paper, take_base(paper, plan), claim=claim, watch=watch)
    )
    return {**found, "seconds": round(time.monotonic() - began, 1)}


def in_smaller_batches(paper: Paper, take: Callable[[BatchPlan], Answer]) -> Answer:
    """Do a part of a check under the device's batch plan; out of memory, do it again in rows half as long."""
    device = paper.candidates.device
    plan = plan_for(device)
    while True:
        try:
            return take(plan)
        except (RuntimeError, MemoryError) as error:
            if not failures.is_out_of_memory(error):
                raise
            if plan.row_tokens <= LEAST_ROW_TOKENS:
                hint = "Free some memory, or check on a larger device."
                raise EnvironmentTrouble(
                    f"out of memory even with rows of {plan.row_tokens} tokens.", hint=hint
                ) from error
        free_memory(device)
        paper.told.clear()
        plan = plan.halved()
        print(f"out of memory: both models are scored again in rows of {plan.row_tokens} tokens", flush=True)


def judge(paper: Paper, base: BaseSide, *, claim: int = 0, watch: bool = False) -> dict[str, Any]:
    """Score the tuned model until the check is decided, and give the result as plain data."""
    items = [item for item in paper.exam.items if item.key not in paper.excluded]
    scores = {key: score.score for key, score in base.sheet.items.items()}
    check_plan = planning.make_plan(
        paper.exam.plans,
        items,
        scores,
        seed=paper.general.seed,
        cap=None,
        margin=paper.general.margin / 100,
        alpha=paper.general.alpha,
        look_items=LOOK_ITEMS,
        excluded=paper.excluded,
        claim=claim,
        watch=watch,
    )
    state = sequential.begin(check_plan, scores)
    tuned_sheet, state = take_tuned(paper, _examinee(paper, "tuned", base.plan), state)
    result: CheckResult = conclusion.conclude(state)
    kl = None
    if paper.candidates.is_adapter and paper.windows:
        with as_tuned(paper.candidates) as model:
            kl = drift.divergence(model, model.disable_adapter, paper.windows)
    return assemble(
        result,
        suite=paper.suite.name,
        exam=paper.exam,
        excluded=sorted(paper.excluded),
        notes=paper.notes,
        base=base.sheet.items,
        tuned={key: score for key, score in tuned_sheet.items.items() if key in state.tuned},
        target={
            metric: target.compare(
                metric,
                target.rows_for(metric, paper.target_rows, paper.candidates.device),
                base.sheet.target[metric],
                scores,
            )
            for metric, scores in tuned_sheet.target.items()
        },
        drift=None
        if not paper.windows
        else {
            "base": drift.nats_per_token(paper.windows, base.sheet.windows),
            "tuned": drift.nats_per_token(paper.windows, tuned_sheet.windows),
            "tokens": sum(len(window) - 1 for window in paper.windows),
            "kl": kl,
        },
        noise_floor=base.noise_floor,
        models={
            name: {**(facts or {}), "layout": base.plan.layout, "row_tokens": base.plan.row_tokens}
            for name, facts in paper.facts.items()
        },
    )


def take_base(paper: Paper, plan: BatchPlan) -> BaseSide:
    """Score the base on every item, and against itself, from the cache as far as that goes."""
    examinee = _examinee(paper, "base", plan)
    with LoadedWhenAsked(paper, "base") as model:
        examinee = replace(examinee, model=model)
        missing = is_missing(paper, examinee)
        if missing and plan.layout == "packed" and not packs_exactly(model()):
            examinee = replace(examinee, plan=BatchPlan("plain", plan.row_tokens))
        items = score_items(paper, paper.exam, examinee, "scoring base")
        other = noise.other_plan(examinee)
        quick = noise.noise_exam(paper.exam, paper.candidates.device)
        floor = score_items(paper, quick, other, "noise floor", tell=False)
        windows = score_windows(paper, examinee)
        reached = score_target(paper, examinee)
    flips = noise.flips(items, floor)
    return BaseSide(Sheet(items, windows, reached), examinee.plan, {"items": len(floor), "flips": flips})


def take_tuned(paper: Paper, examinee: Examinee, state: sequential.Check) -> tuple[Sheet, sequential.Check]:
    """Score the tuned model look by look until the check is decided; then its target and drift."""
    keys = keys_of(paper.exam, examinee)
    scores = known(paper.exam, keys, paper.home.scores)
    cell_of = {(cell.task, item): cell for cell in paper.exam.cells for item in cell.items}
    began, total, fresh = time.monotonic(), len(state.plan.order), 0
    with LoadedWhenAsked(paper, "tuned") as model:
        examinee = replace(examinee, model=model)
        while look := sequential.next_items(state):
            for item in look:
                if item.key in scores:
                    continue
                score_into(paper, paper.exam, examinee, keys, cell_of[item.key], scores)
                fresh += len(cell_of[item.key].items)
                tell_phase(
                    paper, "scoring tuned", len(state.tuned), total, began, fresh, total - len(state.tuned)
                )
            tell_scores(paper, "tuned", keys, {item.key: scores[item.key] for item in look})
            state = sequential.feed(state, {item.key: scores[item.key].score for item in look})
            tell_phase(
                paper, "scoring tuned", len(state.tuned), total, began, fresh, total - len(state.tuned)
            )
        sheet = Sheet(scores, score_windows(paper, examinee), score_target(paper, examinee))
    return sheet, state


def _examinee(paper: Paper, name: Name, plan: BatchPlan) -> Examinee:
    return Examinee(name, paper.facts[name], _not_loaded, plan)


def _not_loaded() -> Any:
    raise AssertionError("a model is asked for outside of its turn")
