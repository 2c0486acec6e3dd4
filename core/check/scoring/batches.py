"""Scores the requests of a suite on one model, batch by batch, and takes known scores from the cache.

A batch goes to the model together: one task's items of one look (of eleven looks for written answers, where one
forward pass costs nearly as much for few as for many; on a GPU, of as many looks as fill it). Scores computed
ahead wait for their look: decisions come in the same order, on the same items. The items on which the base is
measured first are in separate batches, because otherwise scoring them would score nearly everything. Batches are
fixed by the suite, its caps, the seed and the kind of device alone: not by which tasks turn out measurable, which
items are contaminated or where a check stops. So base and tuned get the very same batches, and a model checked
against itself gets the very same scores.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetop.core.check.scoring import cache, layout
from finetop.core.check.scoring.batch_plan import BatchPlan, Name, Prompt
from finetop.core.check.scoring.cache import ScoreKey
from finetop.core.check.scoring.generation import answer
from finetop.core.check.scoring.layout import LaidOut
from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.check.scoring.prefix_cache import Prefixes, PrefixMemory, find, room_for
from finetop.core.check.scoring.scorer import encode_pair, encode_prompt, score
from finetop.core.check.statistics.item_order import (
    Item,
    Key,
    Stages,
    cap_items,
    clusters_of,
    looks_of,
    permute,
    sample_stages,
)
from finetop.core.check.statistics.verdict import TaskPlan
from finetop.core.check.tasks.grading import grade_answer, grade_likelihoods
from finetop.core.check.tasks.requests import chance_of, requests_of
from finetop.core.check.tasks.types import BenchmarkTask, Request
from finetop.core.protocol.events import ItemScore

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


Inputs = tuple["TokenSequence | Prompt", ...]

LOOK_ITEMS = 64
# Items per task on which the base is first measured; the fewest for which 3 standard errors are meaningful.
SAMPLE_ITEMS = 100
LOOKS_PER_GENERATION = 11  # a suite of 700 items: a step of 96 answers takes 1.5 times one of 40 on a CPU


@dataclass(frozen=True)
class Batch:
    """Items of one task that go to the model together."""

    task: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class PreparedSuite:
    """A suite made ready for one base model: its tasks, chosen items in their order, and batches."""

    tasks: Mapping[str, BenchmarkTask]
    plans: tuple[TaskPlan, ...]  # of each task: what decides
    requests: Mapping[Key, Request]
    prompts: Mapping[str, Mapping[str, str]]  # of each task: item -> hash of its prompt
    items: tuple[Item, ...]  # capped, in the order of the permutation
    stages: Stages  # of each task: the parts of the sample on which the base is measured
    batches: tuple[Batch, ...]
    inputs: Mapping[Key, Inputs]  # of each item: its tokens
    prefixes: Mapping[str, Prefixes]  # of each task: prefixes that its items share
    tokenizer: Tokenizer


@dataclass(frozen=True)
class ScoredModel:
    """One model and how it is run: its facts for the cache, and how to get it (it may never be loaded)."""

    name: Name
    facts: Mapping[str, Any] | None  # None: its scores are not cached
    model: Callable[[], Any]
    plan: BatchPlan
    memories: dict[str, PrefixMemory] = field(default_factory=dict)  # by task; of this model only
    # the batch that comes next, if it was laid out ahead
    ahead: dict[tuple[Batch, BatchPlan], Iterator[LaidOut]] = field(default_factory=dict)


def prepare(
    tasks: Sequence[BenchmarkTask], tokenizer: Tokenizer, longest: int, seed: int, filled: int = 0
) -> PreparedSuite:
    """Choose the items (each task capped by the seed), render them, order them and cut them into batches.

    A batch holds the items of as many looks as add up to `filled` tokens, and of at least one.
    """
    by_name = {task.name: task for task in tasks}
    chosen: list[Item] = []
    task_requests: dict[str, tuple[Request, ...]] = {}
    for task in tasks:
        kept = cap_items((document.item for document in task.documents), task.suite_task.cap, seed)
        chosen.extend(kept)
        task_requests[task.name] = requests_of(task, kept, tokenizer)
    order = permute(chosen, seed)
    stages = sample_stages(chosen, SAMPLE_ITEMS, seed)
    inputs = {
        name: {request.item.key: _inputs(request, tokenizer, longest) for request in requests}
        for name, requests in task_requests.items()
    }
    prefixes = {name: find(of_task.values()) for name, of_task in inputs.items()}
    looks = {}
    for task in tasks:
        least = LOOKS_PER_GENERATION if task.kind == "generation" else 1
        of_task, shared = inputs[task.name].values(), prefixes[task.name]
        looks[task.name] = max(least, _looks_to_fill(filled, of_task, shared, len(order)))
    return PreparedSuite(
        tasks=by_name,
        plans=tuple(
            TaskPlan(name, task.metric, chance_of(task, task_requests[name]), task.suite_task.weight)
            for name, task in by_name.items()
        ),
        requests={request.item.key: request for requests in task_requests.values() for request in requests},
        prompts={
            name: {request.item.item: request.prompt_hash for request in requests}
            for name, requests in task_requests.items()
        },
        items=order,
        stages=stages,
        batches=_batches(order, looks, stages),
        inputs={key: item_inputs for of_task in inputs.values() for key, item_inputs in of_task.items()},
        prefixes=prefixes,
        tokenizer=tokenizer,
    )


def _looks_to_fill(filled: int, items: Iterable[Inputs], prefixes: Prefixes, of_suite: int) -> int:
    """Return how many looks hold `filled` tokens of a task's items, in a suite of `of_suite` items."""
    tokens = sum(_tokens_of(item, prefixes) for item in items)
    return max(1, filled * of_suite // (LOOK_ITEMS * max(1, tokens)))


def _tokens_of(item: Inputs, prefixes: Prefixes) -> int:
    """Count the tokens read for an item: its context after a kept prefix, and each choice."""
    number = prefixes.longest(item[0])
    kept = len(prefixes.tokens[number]) if number >= 0 else 0
    choices = [part for part in item[1:] if isinstance(part, TokenSequence)]
    scored = sum(len(choice.tokens) - choice.scored_from for choice in choices)
    return len(item[0].tokens) - kept + scored


def _batches(order: Sequence[Item], looks: Mapping[str, int], stages: Stages) -> tuple[Batch, ...]:
    """Put each task's items of its number of looks into a batch.

    The first part of its sample is always scored; there a batch takes more looks, so that it is as large as one of
    an unsampled task.
    """
    staged = [(stage, part) for parts in stages.values() for stage, part in enumerate(parts)]
    stage_of = {item.key: stage for stage, part in staged for item in part}
    batches: dict[tuple[int, str, int], list[str]] = defaultdict(list)
    for number, look in enumerate(looks_of(clusters_of(order), LOOK_ITEMS)):
        for item in look:
            stage, parts = stage_of[item.key], stages[item.task]
            together = looks[item.task] * (sum(map(len, parts)) // len(parts[0]) if stage == 0 else 1)
            batches[number - number % together, item.task, stage].append(item.item)
    in_order = sorted(batches.items(), key=lambda entry: entry[0][0])
    return tuple(Batch(task, tuple(items)) for (_, task, _), items in in_order)


def keys_of(prepared: PreparedSuite, scored_model: ScoredModel) -> dict[str, ScoreKey]:
    """Return the cache key of each task for a model; empty if the model's scores are not cached."""
    if scored_model.facts is None:
        return {}
    keys = {}
    for name, task in prepared.tasks.items():
        items = [list(batch.items) for batch in prepared.batches if batch.task == name]
        digest = hashlib.sha256(json.dumps([items, prepared.prefixes[name].tokens]).encode()).hexdigest()
        facts = {"name": name, "settings": task.fingerprint, "batches": digest}
        plan = scored_model.plan.facts(writes=task.kind == "generation")
        keys[name] = cache.score_key({**scored_model.facts, **plan}, facts)
    return keys


def score_batch(
    prepared: PreparedSuite, scored_model: ScoredModel, batch: Batch, following: Batch | None = None
) -> list[ItemScore]:
    """Score a batch's items on the model; `following` is packed ahead, while a GPU works at this one."""
    task = prepared.tasks[batch.task]
    requests = [prepared.requests[batch.task, item] for item in batch.items]
    memory = _memory(prepared, scored_model, batch.task)
    together = _together(prepared, batch)
    model, plan = scored_model.model(), scored_model.plan
    if task.kind == "generation":
        answers = answer(model, prepared.tokenizer, together, plan, memory)
        return [grade_answer(task, request, text) for request, text in zip(requests, answers, strict=True)]
    laid_out = scored_model.ahead.pop((batch, plan), None)

    def lay_out_following() -> None:
        scored_model.ahead.clear()
        if following is None or prepared.tasks[following.task].kind == "generation":
            return
        shared = prepared.prefixes[following.task]
        batches = layout.lay_out(
            model, _together(prepared, following), plan, shared if shared.tokens else None
        )
        if (begun := layout.begun(batches)) is not None:
            scored_model.ahead[following, plan] = begun

    scored = iter(score(model, together, plan, memory, laid_out=laid_out, meanwhile=lay_out_following))
    parts = [prepared.inputs[request.item.key] for request in requests]
    return [
        grade_likelihoods(task, request, [next(scored) for _ in of_item])
        for request, of_item in zip(requests, parts, strict=True)
    ]


def _together(prepared: PreparedSuite, batch: Batch) -> list[Any]:
    """Return the tokens of a batch's items, one after the other."""
    return [entry for item in batch.items for entry in prepared.inputs[batch.task, item]]


def _memory(prepared: PreparedSuite, scored_model: ScoredModel, task: str) -> PrefixMemory | None:
    """Return the model's memory of a task's shared prefixes; None if the task has none."""
    if not prepared.prefixes[task].tokens:
        return None
    if task not in scored_model.memories:
        sharing = sum(bool(prefixes.tokens) for prefixes in prepared.prefixes.values())
        room = room_for(str(scored_model.model().device)) // sharing
        scored_model.memories[task] = PrefixMemory(prepared.prefixes[task], room)
    return scored_model.memories[task]


def _inputs(request: Request, tokenizer: Tokenizer, longest: int) -> Inputs:
    """Tokenize a question: each choice after the context, or the prompt alone."""
    if request.pairs:
        return tuple(encode_pair(tokenizer, context, text, longest) for context, text in request.pairs)
    tokens = encode_prompt(tokenizer, request.prompt, longest, request.max_new_tokens)
    return (Prompt(tokens, request.stop, request.max_new_tokens),)
