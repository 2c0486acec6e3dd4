"""Whether an exported file still does what was trained: llama.cpp is asked the items of the run's check.

The file is compared with the tuned model as the tuned model was with its base: the same items in the same order,
margin, alpha, early stopping. The tuned model's scores are those that the check cached; an item that it was not
asked is scored by transformers. Of several files each is tested at alpha / their number, so that the chance of any
wrong OK among them stays alpha.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec

from finetop.core.check import run_check as checking
from finetop.core.check.context import CheckContext, open_context
from finetop.core.check.job import with_settings
from finetop.core.check.model_pair import ModelPair, open_pair, put_away
from finetop.core.check.run_check import BaseScores
from finetop.core.check.scoring import llama_cpp, target
from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.check.scoring_passes import (
    Pace,
    Scoring,
    report_phase,
    rows_of,
    score_missing,
    score_target,
    with_model,
)
from finetop.core.check.statistics import conclude, sequential
from finetop.core.check.statistics.item_order import Key
from finetop.core.check.statistics.verdict import CheckPlan
from finetop.core.features.export.export import ExportRequest
from finetop.core.features.export.gguf_verdicts import Ask
from finetop.core.models import resolve
from finetop.core.models.llama_cpp.model import Model, open_model
from finetop.core.protocol.check_result import CheckResult, Metric, worst_first
from finetop.core.protocol.events import ItemScore, Phase
from finetop.core.protocol.exports import ExportVerdict, TargetScores, TaskScores, Three
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home


@dataclass(frozen=True)
class Trial:
    """What all files of an export share: the items, and the scores of base and tuned model."""

    context: CheckContext
    base: BaseScores
    before: Scoring
    tuned: Scoring
    target: Mapping[Metric, Mapping[str, ItemScore]]  # of the tuned model
    plan: CheckPlan


def prepare(request: ExportRequest, home: Home, events: EventLog) -> Ask:
    """Read the run's check, and return what asks files its items; on a GPU, after the tuned model's part of it.

    The GPU is free then, while llama.cpp computes on the CPU for a long time; on a CPU nothing is scored in advance.
    """
    recipe = with_settings(request.recipe, dict(request.general or {}))
    events.write(Phase("reading the check's items"))
    base = resolve.resolve_model(recipe.model, home, events)
    pair = open_pair(base, request.checkpoint, recipe.model.dtype, request.device)
    if request.remedy is not None:
        pair.change = request.remedy.change(base, request.checkpoint)
    context = replace(open_context(recipe, pair, home, events), reports_scores=False)

    def opened(plan: BatchPlan) -> Trial:
        return open_trial(context, plan, len(request.quants))

    def opened_and_scored(plan: BatchPlan) -> Trial:
        trial = opened(plan)
        score_rest(trial)
        return trial

    def judge(files: Mapping[str, Path]) -> list[ExportVerdict]:
        with closed(pair):
            return checking.in_smaller_batches(context, lambda plan: judge_files(opened(plan), files))

    if not on_gpu(request.device):
        return judge
    with closed(pair):
        return partial(judge_files, checking.in_smaller_batches(context, opened_and_scored))


@contextmanager
def closed(pair: ModelPair) -> Iterator[None]:
    """Drop the loaded models after the block."""
    try:
        yield
    finally:
        put_away(pair)


def on_gpu(device: str) -> bool:
    return device.startswith("cuda")


def score_rest(trial: Trial) -> None:
    """Score all items that the tuned model was not asked yet: any of them may be asked of a file."""
    pace, total = Pace(), len(trial.plan.order)

    def report() -> None:
        scored = sum(item.key in trial.tuned.scores for item in trial.plan.order)
        report_phase(
            trial.context, "scoring what files are compared with", scored, total, pace, total - scored
        )

    with with_model(trial.context, trial.tuned) as now:
        score_missing(trial.context, now, trial.plan.order, pace, report)


def judge_files(trial: Trial, files: Mapping[str, Path]) -> list[ExportVerdict]:
    """Ask each file (number format -> place) the items of the run's check. Return their verdicts in order."""
    began = time.monotonic()
    print(f"asking each file up to {len(trial.plan.order):,} items of {trial.context.suite.name}", flush=True)
    verdicts = [judge_file(trial, quant, file) for quant, file in files.items()]
    print(f"asked in {time.monotonic() - began:.0f} s", flush=True)
    return verdicts


def open_trial(context: CheckContext, plan: BatchPlan, files: int) -> Trial:
    """Collect the scores that all files are compared with, from the cache as far as possible."""
    base = checking.score_base(context, plan)
    before, tuned = checking.base_scoring(context, base), checking.tuned_scoring(context, base)
    with with_model(context, tuned) as now:
        reached = score_target(context, now.scored_model)
    check_plan = one_of(checking.plan_of(context, before), files)
    return Trial(context, base, before, tuned, reached, check_plan)


def one_of(plan: CheckPlan, files: int) -> CheckPlan:
    """Return the plan of one of several files."""
    digest = sha256(f"{plan.hash} exported, one of {files}".encode()).hexdigest()
    return msgspec.structs.replace(plan, alpha=plan.alpha / files, hash=digest)


def judge_file(trial: Trial, quant: str, file: Path) -> ExportVerdict:
    """Ask a file the items, until it is decided whether it lost the margin against the tuned model."""
    began, context = time.monotonic(), trial.context
    room = llama_cpp.room_for(context.prepared, context.target_rows, context.recipe.check.target)
    with open_model(file, room) as model:
        state, scores = score_until_decided(trial, quant, model)
        context.events.write(Phase(f"{quant}: scoring the target"))
        reached = target_scores(trial, model)
    verdict = verdict_of(trial, state, scores, reached)
    return msgspec.structs.replace(verdict, seconds=round(time.monotonic() - began, 1))


def score_until_decided(
    trial: Trial, quant: str, model: Model
) -> tuple[sequential.Check, dict[Key, ItemScore]]:
    """Score look by look, the file by llama.cpp and the tuned model where its scores are missing."""
    context, pace, order = trial.context, Pace(), trial.plan.order
    state, scores = sequential.begin(trial.plan), dict[Key, ItemScore]()
    asked = 0

    def report() -> None:
        report_phase(context, f"{quant}: asking items", asked, len(order), pace, len(order) - asked)

    def count() -> None:
        nonlocal asked
        asked += 1
        pace.fresh += 1
        report()

    while look := sequential.next_items(state):
        with with_model(context, trial.tuned) as now:
            score_missing(context, now, look, Pace(), report)
        of_file = llama_cpp.score_items(model, context.prepared, look, count)
        scores |= of_file
        of_tuned = {item.key: trial.tuned.scores[item.key].score for item in look}
        state = sequential.feed(state, of_tuned, {key: score.score for key, score in of_file.items()})
    return state, scores


def target_scores(trial: Trial, model: Model) -> dict[str, TargetScores]:
    """Return each metric of the target under base, tuned model and file."""
    context, wanted = trial.context, trial.context.recipe.check.target
    scores: dict[str, TargetScores] = {}
    for metric, tuned in trial.target.items():
        assert wanted is not None
        rows = rows_of(context, metric)
        rows_scored = llama_cpp.score_rows(model, context.prepared.tokenizer, metric, rows, wanted)
        exported = {score.item: score for score in rows_scored}
        pair = target.compare(metric, rows, tuned, exported)
        base = trial.base.scores.target.get(metric)
        of_base = None if base is None else target.compare(metric, rows, base, exported).base
        scores[metric] = TargetScores((of_base, pair.base, pair.tuned), pair.low, pair.high, len(rows))
    return scores


def verdict_of(
    trial: Trial,
    state: sequential.Check,
    scores: Mapping[Key, ItemScore],
    reached: dict[str, TargetScores],
) -> ExportVerdict:
    """Sum a file up; the tuned model has the place of a check's base."""
    result: CheckResult = conclude.conclude(state)
    seen = [item.key for cluster in state.clusters[: state.consumed] for item in cluster]
    tasks = []
    for task in worst_first(result):
        of_task = _base_mean(trial, state, [key for key in scores if key[0] == task.task])
        is_asked = task.mark != "unmeasurable"
        means: Three = (of_task, task.base, task.tuned) if is_asked else (task.base, None, None)
        tasks.append(TaskScores(task.task, task.mark, task.drop, means, task.n if is_asked else 0))
    tuned = trial.tuned.scores
    return ExportVerdict(
        verdict=result.verdict,
        reason=result.reason,
        margin=result.margin,
        drop=result.drop,
        decided=result.deciding_interval,
        scores=(_base_mean(trial, state, seen), result.base, result.tuned),
        items_used=result.items_used,
        items_total=result.items_total,
        lost=result.lost,
        won=result.won,
        tasks=tasks,
        target=reached,
        answers_differ=sum(score.answer != tuned[key].answer for key, score in scores.items()),
        suite=trial.context.suite.name,
    )


def _base_mean(trial: Trial, state: sequential.Check, keys: Sequence[Key]) -> float | None:
    """Return the base's mean over items, weighted by task; None if it was not asked all of them."""
    base = trial.before.scores
    if not keys or any(key not in base for key in keys):
        return None
    weights = [state.weights[task] for task, _ in keys]
    total = sum(weight * base[key].score for weight, key in zip(weights, keys, strict=True))
    return total / sum(weights)
