"""The remedy job: check each candidate on the selection items and on the target, then confirm the best.

All are scored on the same items in the same order and batches as the base, which is scored once. All scores stay
in the cache, under what the candidate is made of, so a restarted job continues where it was. One model is in
memory at a time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetop.core.check import run_check as checking
from finetop.core.check.checked_weights import hash_in
from finetop.core.check.context import CheckContext, open_context
from finetop.core.check.model_pair import Change, facts_of, open_pair, put_away
from finetop.core.check.run_check import BaseScores
from finetop.core.check.scoring import cache, target
from finetop.core.check.scoring.batch_plan import BatchPlan, Name
from finetop.core.check.scoring_passes import Scoring, rows_of, score_target, with_model
from finetop.core.check.statistics import conclude, sequential
from finetop.core.check.statistics.verdict import CheckPlan
from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError
from finetop.core.features.remedies import remedies
from finetop.core.features.remedies.choice import NO_ITEMS, gained, parts, ranked, shares
from finetop.core.features.remedies.messages import Candidate, candidate_of
from finetop.core.features.remedies.weights import Unchanged
from finetop.core.models import devices, resolve
from finetop.core.models.hashes import fingerprint
from finetop.core.protocol.check_result import CheckResult, worst_first
from finetop.core.protocol.events import Ended, ItemScore, Phase, RemedyConfirmed, RemedyTried
from finetop.core.protocol.runs import RemedyRow
from finetop.core.recipe.job import Job
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_process import silence_libraries

PACKAGES = ("finetop", "torch", "transformers", "peft", "lm_eval")
IF_STOPPED = "asked to stop; what was scored is kept"
NOW = Candidate("now", "now", "now", 0, {})


def work(job: Job) -> Ended:
    """Record who runs on what, then try the candidates."""
    silence_libraries()
    device = devices.open_device(job.gpu_gib)
    job.started(devices.describe_device(device), devices.number_format(job.dtype, None, device), PACKAGES)
    for row in try_all(request_of(job, device), job.home, job.events):
        print(f"{row.label}: {row.verdict}", flush=True)
    return Ended("finished")


def request_of(job: Job, device: str) -> RemedyRequest:
    """Parse what to try. Raises BadInput."""
    step, candidates = job.args.get("step"), job.args.get("candidates")
    if not isinstance(step, int) or not isinstance(candidates, list):
        hint = "Name a step, its checkpoint and candidates."
        raise BadInput(f"job.json: args are {job.args!r}.", hint=hint)
    return RemedyRequest(
        recipe=job.recipe(),
        step=step,
        checkpoint=job.inside(job.args.get("checkpoint")),
        candidates=[(candidate_of(facts), job.inside(facts.get("checkpoint"))) for facts in candidates],
        device=device,
    )


@dataclass(frozen=True)
class RemedyRequest:
    """The candidates to try for a checkpoint, and the checkpoints that they are made of."""

    recipe: Recipe
    step: int
    checkpoint: Path
    candidates: Sequence[tuple[Candidate, Path]]
    device: str


@dataclass(frozen=True)
class Trial:
    """What all candidates share: the context, the base's scores, and the items for selection and for confirmation."""

    request: RemedyRequest
    context: CheckContext
    base: BaseScores
    before: Scoring
    choosing: CheckPlan
    confirming: CheckPlan | None
    events: EventLog


def try_all(request: RemedyRequest, home: Home, events: EventLog) -> list[RemedyRow]:
    """Try the candidates, confirm the best, and write both as events. Returns the results in the order given.

    Raises BadInput and EnvironmentTrouble as a check does; a candidate's own failure is recorded with that candidate.
    """
    events.write(Phase("loading model"))
    base = resolve.resolve_model(request.recipe.model, home, events)
    pair = open_pair(base, request.checkpoint, request.recipe.model.dtype, request.device)
    context = replace(open_context(request.recipe, pair, home, events), reports_scores=False)
    return checking.in_smaller_batches(context, lambda plan: _try_under(request, context, plan))


def _try_under(request: RemedyRequest, context: CheckContext, plan: BatchPlan) -> list[RemedyRow]:
    """Try all under one batch plan: scores under different plans are not comparable."""
    base = checking.score_base(context, plan)
    before = checking.base_scoring(context, base)
    check_plan = checking.plan_of(context, before)
    two = parts(check_plan, remedies.most_candidates())
    trial = Trial(request, context, base, before, *two, context.events)
    current = try_one(trial, NOW, request.checkpoint, None)
    put_away(context.pair)
    results: list[tuple[RemedyRow, Candidate, Path]] = []
    for number, (candidate, folder) in enumerate(request.candidates, 1):
        print(f"{number} of {len(request.candidates)}: {candidate.label}", flush=True)
        results.append((try_one(trial, candidate, folder, current), candidate, folder))
    confirm(trial, results)
    return [row for row, _, _ in results]


def try_one(trial: Trial, candidate: Candidate, folder: Path, current: RemedyRow | None) -> RemedyRow:
    """Check one candidate on the selection items, score it on the target's rows, and write the result."""
    began = time.monotonic()
    try:
        context = context_of(trial, candidate, folder)
        after, result = score_part(trial, context, trial.choosing)
        with with_model(context, after) as scoring:
            target_scores = {
                metric: target.compare(
                    metric, rows_of(context, metric), trial.base.scores.target[metric], scores
                )
                for metric, scores in score_target(context, scoring.scored_model).items()
                if metric in trial.base.scores.target
            }
        weights, note = weights_and_note(context)
        failed = f"target failed: {context.target_failed}" if context.target_failed else ""
        bases: dict[str, float] = {metric: pair.base for metric, pair in target_scores.items()}
        tuned: dict[str, float] = {metric: pair.tuned for metric, pair in target_scores.items()}
        kept = (
            gained(target_scores) if current is None else shares(tuned, bases, current.target, current.kept)
        )
        put_away(context.pair)
    except EnvironmentTrouble:
        raise
    except Unchanged as nothing:
        event = RemedyTried(**_identity(trial, candidate), verdict="unchanged", reason=str(nothing))
    except FinetopError as error:
        event = RemedyTried(**_identity(trial, candidate), verdict="failed", reason=str(error))
    else:
        event = RemedyTried(
            **_identity(trial, candidate),
            verdict=result.verdict,
            reason=result.reason,
            target=tuned,
            kept=kept,
            gain=None if current is None else min(kept.values(), default=None),
            **_numbers(result),
            tasks=[(task.task, task.drop or 0.0, task.mark) for task in worst_first(result)],
            note="; ".join(filter(None, (note, failed))),
            weights=weights,
            models=_models_of(context),
            seconds=round(time.monotonic() - began, 1),
        )
    trial.events.write(event)
    return _row(event)


def _identity(trial: Trial, candidate: Candidate) -> dict[str, Any]:
    return {
        "step": trial.request.step,
        "name": candidate.name,
        "remedy": candidate.remedy,
        "label": candidate.label,
        "made_of": candidate.step or trial.request.step,
        "settings": dict(candidate.settings),
    }


def _models_of(context: CheckContext) -> dict[str, str]:
    """Return the hashes of the base and of the checkpoint that a candidate is made of."""
    held = {name: hash_in(facts) for name, facts in context.facts.items()}
    return {name: digest for name, digest in held.items() if digest is not None}


def _numbers(result: CheckResult) -> dict[str, Any]:
    return {
        "drop": result.drop,
        "interval": result.interval,
        "decided": result.deciding_interval,
        "items_used": result.items_used,
        "items_total": result.items_total,
    }


def context_of(trial: Trial, candidate: Candidate, folder: Path, doing: str = "") -> CheckContext:
    """Return a context with a candidate as the tuned model, built from its checkpoint when it is first scored."""
    common, home = trial.context, trial.context.home
    if candidate is NOW:
        return replace(common, model_label="now")
    candidate_pair = replace(common.pair, checkpoint=folder, loaded=None, loaded_name="")
    candidate_pair.change = remedies.load(candidate.remedy).change(candidate, candidate_pair.base, folder)
    tokenizer = common.prepared.tokenizer
    tuned_facts = facts_of(candidate_pair, "tuned", tokenizer, home)
    facts: dict[Name, Any] = {"base": common.facts["base"], "tuned": tuned_facts}
    context = replace(common, model_label=f"{doing}{candidate.label}", pair=candidate_pair, facts=facts)
    if candidate_pair.change is not None:
        candidate_pair.change = with_cached_note(candidate_pair.change, context)
    return context


def with_cached_note(change: Change, context: CheckContext) -> Change:
    """Return a change that also caches, beside the scores, the hash of its weights and its note."""

    def make(model: Any) -> Any:
        context.events.write(Phase(f"{context.model_label}: building the model"))
        model_made = change.make(model)
        key, prompts = _weights_key(context)
        note = ItemScore("weights", 0.0, f"{fingerprint(model_made)} {'; '.join(change.report)}".strip())
        cache.append(context.home.scores, key, [note], prompts)
        return model_made

    return replace(change, make=make)


def weights_and_note(context: CheckContext) -> tuple[str, str]:
    """Return the hash of the weights that were scored, and the note on how they were made; empty for a checkpoint."""
    if context.pair.change is None:
        return "", ""
    key, prompts = _weights_key(context)
    cached = cache.read(context.home.scores, key, prompts).get("weights")
    digest, _, note = ("" if cached is None else cached.answer).partition(" ")
    return digest, note


def _weights_key(context: CheckContext) -> tuple[cache.ScoreKey, dict[str, str]]:
    return cache.score_key(context.facts["tuned"] or {}, {"name": "weights"}), {"weights": "made"}


def score_part(trial: Trial, context: CheckContext, plan: CheckPlan) -> tuple[Scoring, CheckResult]:
    """Score a candidate on the items of one part until the verdict is decided."""
    after = checking.tuned_scoring(context, trial.base)
    state = checking.score_pairs(context, trial.before, after, sequential.begin(plan))
    return after, conclude.conclude(state)


def confirm(trial: Trial, results: Sequence[tuple[RemedyRow, Candidate, Path]]) -> None:
    """Check the best, and if that fails the next best, on items that selected nothing: see choice.py."""
    places = {row.name: (candidate, folder) for row, candidate, folder in results}
    for row in ranked([row for row, _, _ in results]):
        if trial.confirming is None:
            reason = f"not confirmed: {NO_ITEMS}, all {len(trial.choosing.order):,} were needed to choose."
            of: dict[str, Any] = {"step": trial.request.step, "name": row.name}
            trial.events.write(RemedyConfirmed(**of, verdict="no_items", reason=reason, alpha=0.0))
            return
        candidate, folder = places[row.name]
        context = context_of(trial, candidate, folder, "confirming ")
        _, result = score_part(trial, context, trial.confirming)
        put_away(context.pair)
        of = {"step": trial.request.step, "name": row.name, **_numbers(result)}
        verdict, reason, alpha = result.verdict, result.reason, trial.confirming.alpha
        trial.events.write(RemedyConfirmed(**of, verdict=verdict, reason=reason, alpha=alpha))
        if result.verdict == "ok":
            return


def _row(event: RemedyTried) -> RemedyRow:
    """Return the parts of an event that the selection needs."""
    return RemedyRow(
        name=event.name,
        remedy=event.remedy,
        label=event.label,
        step=event.made_of,
        verdict=event.verdict,
        target=dict(event.target),
        kept=dict(event.kept),
        gain=event.gain,
    )
