"""The passes over a model that make up a check: items, drift windows, target rows, each from the cache if possible.

Each pass reports its progress; the item scores that count are written to the events, so that the run's folder
holds them.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from finetop.core.check.model_pair import as_base, as_tuned, require_unchanged
from finetop.core.check.scoring import cache as score_cache, drift, llama_cpp, target
from finetop.core.check.scoring.batch_plan import LEAST_ROW_TOKENS, BatchPlan
from finetop.core.check.scoring.batches import Batch, PreparedSuite, ScoredModel, keys_of, score_batch
from finetop.core.check.scoring.cache import ScoreKey
from finetop.core.check.scoring.turns import take_turns
from finetop.core.check.statistics.item_order import Item, Key
from finetop.core.errors import FinetopError
from finetop.core.models import collectives
from finetop.core.models.llama_cpp.model import Model as GgufModel
from finetop.core.protocol.events import ItemScore, Phase, Scores
from finetop.core.runtime import failures
from finetop.core.runtime.failures import is_out_of_memory

if TYPE_CHECKING:
    from finetop.core.check.context import CheckContext
    from finetop.core.protocol.check_result import Metric

SLOWEST_PHASE_S = 0.5  # a phase is reported at most this often


@dataclass(frozen=True)
class ModelScores:
    """Scores of one model: items, drift windows, target rows by metric."""

    items: dict[Key, ItemScore]
    windows: list[ItemScore]
    target: dict[Metric, dict[str, ItemScore]]


@dataclass(frozen=True)
class Scoring:
    """The scoring of a suite by one model: how it is run, and its scores so far, cached or computed."""

    prepared: PreparedSuite
    scored_model: ScoredModel
    keys: Mapping[str, ScoreKey]  # of the cache, by task; empty if nothing is cached
    batch_of: Mapping[Key, Batch]
    scores: dict[Key, ItemScore]  # grows

    @property
    def values(self) -> dict[Key, float]:
        """Return the scores as the statistics expect them."""
        return {key: score.score for key, score in self.scores.items()}


def open_scoring(
    context: CheckContext,
    prepared: PreparedSuite,
    scored_model: ScoredModel,
    scored: Mapping[Key, ItemScore] | None = None,
) -> Scoring:
    """Open a model's scoring with the scores it has (`scored`) and those in the cache."""
    keys = keys_of(prepared, scored_model)
    kept: dict[Key, ItemScore] = {}
    for task, key in keys.items():
        cached = score_cache.read(context.home.scores, key, prepared.prompts[task])
        kept.update({(task, item): score for item, score in cached.items()})
    batch_of = {(batch.task, item): batch for batch in prepared.batches for item in batch.items}
    return Scoring(prepared, scored_model, keys, batch_of, scores={**kept, **(scored or {})})


@contextmanager
def with_model(context: CheckContext, scoring: Scoring) -> Iterator[Scoring]:
    """Yield the scoring with its model, loaded on first use; the adapter is restored at the end."""
    name = scoring.scored_model.name
    with ExitStack() as turn:

        @cache
        def model() -> Any:
            if not context.pair.is_loaded(name):
                context.events.write(Phase(phase_name(context, "loading model")))
            return turn.enter_context((as_base if name == "base" else as_tuned)(context.pair))

        turn.callback(model.cache_clear)  # who keeps the scoring keeps no model
        yield replace(scoring, scored_model=replace(scoring.scored_model, model=model))


@dataclass
class Pace:
    """How quickly items are scored, by one model or both in turn; the time left is estimated from it."""

    began: float = field(default_factory=time.monotonic)
    fresh: int = 0  # items scored since


def unscored(scoring: Scoring, items: Iterable[Item]) -> list[Item]:
    """Return the items that have no score from the model."""
    return [item for item in items if item.key not in scoring.scores]


def score_missing(
    context: CheckContext, scoring: Scoring, items: Sequence[Item], pace: Pace, report: Callable[[], None]
) -> None:
    """Score the items that have no score yet, in their batches, and cache them; `report` reports progress.

    Ranks score one batch each at a time. A batch is the same whoever scores it, so the result equals one process's.
    """
    batches = list(dict.fromkeys(scoring.batch_of[item.key] for item in unscored(scoring, items)))
    at_once = collectives.count() if context.shares else 1
    if batches and not pace.fresh:
        scoring.scored_model.model()
        pace.began = time.monotonic()  # loading is not part of the pace of items
    for at in range(0, len(batches), at_once):
        report()
        together = batches[at : at + at_once]
        after = batches[at + at_once : at + 2 * at_once]  # for each rank the one that it scores next
        pieces = [partial(_score_batch, scoring, *two) for two in zip_longest(together, after)]
        batch_scores = take_turns(pieces, shares=context.shares, stops=context.stops)
        if scoring.keys:
            require_unchanged(context.pair, context.facts["tuned"], context.home)
        for batch, scores in zip(together, batch_scores, strict=True):
            if scoring.keys:
                prompts = scoring.prepared.prompts[batch.task]
                score_cache.append(context.home.scores, scoring.keys[batch.task], scores, prompts)
            scoring.scores.update({(batch.task, score.item): score for score in scores})
            pace.fresh += len(batch.items)
            if context.ahead is not None:
                context.ahead -= len(batch.items)


def _score_batch(scoring: Scoring, batch: Batch, following: Batch | None) -> list[ItemScore]:
    if isinstance(model := scoring.scored_model.model(), GgufModel):
        return llama_cpp.score_batch(model, scoring.prepared, batch)
    return score_batch(scoring.prepared, scoring.scored_model, batch, following)


def score_items(context: CheckContext, scoring: Scoring, items: Sequence[Item], phase: str) -> None:
    """Score the items that have no score yet, as a phase of their own."""
    pace = Pace()

    def report() -> None:
        left = len(unscored(scoring, items))
        report_phase(context, phase, len(items) - left, len(items), pace, left)

    score_missing(context, scoring, items, pace, report)


def score_windows(context: CheckContext, scored_model: ScoredModel) -> list[ItemScore]:
    prompts = drift.prompts_of(context.windows)
    key = _extra_key(scored_model, {"name": "drift", "window": drift.WINDOW}, writes=False)

    def score() -> list[ItemScore]:
        if isinstance(model := scored_model.model(), GgufModel):
            return llama_cpp.score_windows(model, context.windows)
        return drift.score_windows(model, context.windows, shares=context.shares)

    return _kept(context, key, prompts, score, f"drift of {scored_model.name}")


def rows_of(context: CheckContext, metric: Metric) -> Sequence[target.TargetRow]:
    """Return the target's rows that a metric is measured on."""
    wanted = context.recipe.check.target
    assert wanted is not None
    return target.rows_for(metric, context.target_rows, context.pair.device, wanted)


def score_target(context: CheckContext, scored_model: ScoredModel) -> dict[Metric, dict[str, ItemScore]]:
    """Score the target's rows by each metric. A metric that can't be measured is left out; the context records why."""
    wanted = context.recipe.check.target
    reached: dict[Metric, dict[str, ItemScore]] = {}
    for metric in wanted.metrics if wanted and context.target_rows else ():
        assert wanted is not None
        rows = rows_of(context, metric)
        facts = target.task_facts(metric, rows, wanted)
        key = _extra_key(scored_model, facts, writes=metric != "nats_per_token")

        def work(metric: Metric = metric, rows: Sequence[target.TargetRow] = rows) -> list[ItemScore]:
            model, tokenizer = scored_model.model(), context.prepared.tokenizer
            if isinstance(model, GgufModel):
                return llama_cpp.score_rows(model, tokenizer, metric, rows, wanted)
            plan, shares = scored_model.plan, context.shares
            return target.score_rows(metric, rows, wanted, model, tokenizer, plan, shares=shares)

        prompts = {row.item: row.prompt_hash for row in rows}
        try:
            scores = _kept(context, key, prompts, work, f"scoring the target: {scored_model.name}")
        except Exception as error:
            if not _goes_without(scored_model.plan, error):
                raise
            traceback.print_exc()
            why = str(error) if isinstance(error, FinetopError) else failures.ended(error).cause
            context.target_failed = target.failed(f"{metric}: {why}")
            continue
        reached[metric] = {score.item: score for score in scores}
    return reached


def _goes_without(plan: BatchPlan, error: Exception) -> bool:
    """Return whether the check continues without its target: always, unless smaller batches may fix the error.

    With several ranks, one can't leave the others in the middle: only an out-of-memory error reaches all of them.
    """
    if is_out_of_memory(error):
        return plan.row_tokens <= LEAST_ROW_TOKENS
    return collectives.count() == 1


def _extra_key(scored_model: ScoredModel, task: Mapping[str, Any], *, writes: bool) -> ScoreKey | None:
    facts = scored_model.facts
    plan = scored_model.plan.facts(writes=writes)
    return None if facts is None else score_cache.score_key({**facts, **plan}, task)


def _kept(
    context: CheckContext,
    key: ScoreKey | None,
    prompts: Mapping[str, str],
    work: Callable[[], list[ItemScore]],
    phase: str,
) -> list[ItemScore]:
    """Return the scores from the cache if all are there, else run the work as a phase and cache the result."""

    def score() -> list[ItemScore]:
        context.events.write(Phase(phase_name(context, phase)))
        began = time.monotonic()
        scores = work()
        context.passes_s += time.monotonic() - began
        if key is not None:
            require_unchanged(context.pair, context.facts["tuned"], context.home)
        return scores

    scores = score_cache.read_or_score(context.home.scores, key, prompts, score)
    return [scores[item] for item in prompts]


def report_scores(context: CheckContext, scoring: Scoring, items: Iterable[Item]) -> None:
    """Write the scores of items to the events, each once, so that the run's folder holds all that count."""
    if not context.reports_scores:
        return
    name = scoring.scored_model.name
    by_task: dict[str, list[ItemScore]] = {}
    for item in items:
        if (name, item.key) not in context.reported:
            context.reported.add((name, item.key))
            by_task.setdefault(item.task, []).append(scoring.scores[item.key])
    for task, scores in by_task.items():
        kept_under = scoring.keys[task].name if scoring.keys else ""
        step = context.step if name == "tuned" else None
        context.events.write(Scores(name, kept_under, task, scores, step))


def report_phase(context: CheckContext, phase: str, done: int, total: int, pace: Pace, left: int) -> None:
    """Report progress; the time left is an upper bound, from the items left, of all phases if known, at this pace."""
    now = time.monotonic()
    if now - context.phase_at < SLOWEST_PHASE_S:
        return
    context.phase_at = now
    each = (now - pace.began) / pace.fresh if pace.fresh else None
    left_s = None
    if each is not None and context.ends_job:
        ahead = left if context.ahead is None else max(left, context.ahead)
        left_s = round(ahead * each + context.passes_s * (context.ahead is not None), 1)
    per_s = round(1 / each, 3) if each else None
    name = phase_name(context, phase)
    context.events.write(Phase(name, done, total, "items", left_s, per_s=per_s))


def phase_name(context: CheckContext, phase: str) -> str:
    """Name a phase, with the model being scored if there are several."""
    return f"{context.model_label}: {phase}" if context.model_label else phase
