"""Grades answers with a task's own filters and metric: the harness's code, item by item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, did_you_mean
from finetop.core.protocol.events import ItemScore

if TYPE_CHECKING:
    from finetop.core.check.scoring.scorer import Scored
    from finetop.core.check.tasks.suite import SuiteTask
    from finetop.core.check.tasks.types import BenchmarkTask, Request

LONGEST_ANSWER_KEPT = 500  # characters
PERPLEXITIES = ("perplexity", "word_perplexity", "byte_perplexity")
UNBOUNDED = (*PERPLEXITIES, "bits_per_byte", "bpb", "logprob", "brier_score")


def metric_of(task: SuiteTask, parts: Sequence[Any], place: str) -> str:
    """Return the deciding metric: the suite's, or the task's first one that is bounded. Raises BadInput."""
    listed = list(parts[0].aggregation())
    if task.metric is not None and task.data is None:
        for part in parts:
            if task.metric not in part.aggregation():
                hint = did_you_mean(task.metric, part.aggregation())
                raise BadInput(f"{place}: {part.task_name} has no metric {task.metric}.", hint=hint)
    bounded = [name for name in listed if name not in UNBOUNDED]
    metric = task.metric or next(iter(bounded), None)
    if metric is None:
        hint = "Only scores in [0, 1] can decide: name another metric, or leave the task out."
        raise BadInput(f"{place}: {task.name} has no metric in [0, 1], only {', '.join(listed)}.", hint=hint)
    names = [part.name for part in parts[0]._filters]  # noqa: SLF001  # no public name
    if task.filter is not None and task.filter not in names:
        hint = did_you_mean(task.filter, names)
        raise BadInput(f"{place}: {task.name} has no filter {task.filter}.", hint=hint)
    return metric


def grade_likelihoods(task: BenchmarkTask, request: Request, scored: Sequence[Scored]) -> ItemScore:
    """Grade an item from the log-probabilities of its choices."""
    responses = [(result.log_prob, result.is_greedy) for result in scored]
    value = _metric(task, request, responses)
    if not request.choices:
        return ItemScore(request.item.item, value, gold_log_prob=scored[0].log_prob)
    log_probs = [result.log_prob for result in scored[: len(request.choices)]]
    lengths = [_length(choice, task.metric) for choice in request.choices]
    weighed = [each / length for each, length in zip(log_probs, lengths, strict=True)]
    picked = max(range(len(weighed)), key=weighed.__getitem__)
    answer, gold = request.choices[picked][:LONGEST_ANSWER_KEPT], request.gold
    if gold is None:
        return ItemScore(request.item.item, value, answer, answer_log_prob=log_probs[picked])
    others = [each for place, each in enumerate(log_probs) if place != gold]
    return ItemScore(
        item=request.item.item,
        score=value,
        answer=answer,
        answer_log_prob=log_probs[picked],
        gold_log_prob=log_probs[gold],
        best_other_log_prob=max(others, default=None),
    )


def _length(choice: str, metric: str) -> int:
    """Return what a metric divides a choice's log-probability by."""
    if metric == "acc_norm":
        return max(1, len(choice))
    return max(1, len(choice.encode())) if metric == "acc_bytes" else 1


def grade_answer(task: BenchmarkTask, request: Request, answer: str) -> ItemScore:
    """Grade an item from the written answer."""
    return ItemScore(request.item.item, _metric(task, request, [answer]), answer[:LONGEST_ANSWER_KEPT])


def try_out(task: BenchmarkTask, requests: Sequence[Request]) -> None:
    """Grade a dummy answer to every question. Raises BadInput naming the item if metric or rules do not fit."""
    for request in requests:
        responses = [""] if task.kind == "generation" else [(-1.0, False)] * len(request.pairs)
        try:
            _metric(task, request, responses)
        except BadInput as error:
            hint = error.hint
            raise BadInput(f"{task.place}: item {request.item.item}: {error.message}", hint=hint) from error


def _metric(task: BenchmarkTask, request: Request, responses: Sequence[Any]) -> float:
    """Run the harness's filter and metric on raw responses, one per request."""
    instances = list(request.instances)
    for instance, response in zip(instances, responses, strict=True):
        instance.resps, instance.filtered_resps = [response], {}
    filters = request.part._filters  # noqa: SLF001  # no public name
    chosen = next((each for each in filters if each.name == task.suite_task.filter), filters[0])
    chosen.apply(instances)
    results = [instance.filtered_resps[chosen.name] for instance in instances]
    values: dict[str, Any] = request.part.process_results(instances[0].doc, results)
    name = task.metric
    if name not in values:
        raise BadInput(f"{task.name}: it has no metric {name}.", hint=did_you_mean(name, values))
    value = values[name]
    value = value.item() if hasattr(value, "item") else value  # numpy's numbers and booleans
    if not isinstance(value, int | float) or not 0 <= float(value) <= 1:
        hint = "Only scores in [0, 1] can decide."
        raise BadInput(f"{task.name}: {name} of item {request.item.item} is {str(value)[:60]}.", hint=hint)
    return float(value)
