"""Turns a suite into questions: a task is one of the lm-evaluation-harness (0.4.13), asked and judged by its code.

Prompts, choices, filters and metrics are the harness's; rows come from the suite's file, so no data set is
fetched or cached.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from finetop.core.check.rules import check_rules
from finetop.core.check.suite import Row, SuiteTask, read_rows
from finetop.core.errors import BadInput, did_you_mean
from finetop.core.events import ItemScore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from transformers import PreTrainedTokenizerBase

    from finetop.core.check.permutation import Item
    from finetop.core.check.scorer import Scored
    from finetop.core.check.suite import Suite

Kind = Literal["likelihood", "generation"]
KINDS: Mapping[str, Kind] = {
    "multiple_choice": "likelihood",
    "loglikelihood": "likelihood",
    "generate_until": "generation",
}
LONGEST_ANSWER_KEPT = 500  # characters
LONGEST_WRITTEN = 64  # tokens of an answer, where a task says nothing
FEWSHOT_SEED = 1234


@dataclass(frozen=True)
class Question:
    """One item as a model gets it."""

    item: Item
    category: str
    text: str  # the question alone, for the search in training data
    pairs: tuple[tuple[str, str], ...]  # context and continuation, for each choice
    prompt: str  # what an answer is written to
    stop: tuple[str, ...]
    max_new_tokens: int
    choices: tuple[str, ...]
    gold: int | None  # the right choice, where there is one
    prompt_hash: str
    instances: tuple[Any, ...]  # the harness's requests


@dataclass(frozen=True)
class BenchmarkTask:
    """A task with all its questions, and the harness's object that judges answers."""

    suite_task: SuiteTask
    kind: Kind
    harness: Any
    questions: tuple[Question, ...]


class Documents(list[dict[str, Any]]):
    """Rows as the harness reads a data set.

    A list that knows its columns. Arrow would refuse columns of mixed types.
    """

    @property
    def features(self) -> dict[str, None]:
        """Name the columns of the first row."""
        return dict.fromkeys(self[0])


def build(suite: Suite, tokenizer: PreTrainedTokenizerBase) -> tuple[BenchmarkTask, ...]:
    """Build every task of a suite.

    Raises BadInput, with file and line, for settings that the harness does not take.
    """
    quiet()
    return tuple(
        build_task(task, place, tokenizer) for task, place in zip(suite.tasks, suite.places, strict=True)
    )


def quiet() -> None:
    """Keep the harness and the libraries under it out of the log, but for errors."""
    for name in ("lm_eval", "lm-eval", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)


def build_task(task: SuiteTask, place: str, tokenizer: PreTrainedTokenizerBase) -> BenchmarkTask:
    """Build one task and its questions."""
    rows = read_rows(task)
    harness = _harness_task(task, rows, place)
    kind = KINDS.get(harness.OUTPUT_TYPE)
    if kind is None:
        raise BadInput(
            f"{place}: {task.name} has the output type {harness.OUTPUT_TYPE}, whose scores have no bounds.",
            hint=f"Only scores in [0, 1] can decide: take {', '.join(KINDS)}.",
        )
    render = _chat(tokenizer) if task.chat else None
    with _faults(task, place):
        questions = tuple(_question(task, harness, row, number, render) for number, row in enumerate(rows))
        built = BenchmarkTask(task, kind, harness, questions)
        _try_metric(built, place)
    return built


def _harness_task(task: SuiteTask, rows: Sequence[Row], place: str) -> Any:
    from lm_eval.api.task import ConfigurableTask, TaskConfig

    known = set(TaskConfig.__dataclass_fields__)
    for key in task.lm_eval:
        if key not in known:
            raise BadInput(
                f"{place}: lm_eval.{key} is no setting of the harness.", hint=did_you_mean(key[:60], known)
            )
    documents = Documents({**row.values} for row in rows)
    config: dict[str, Any] = {
        "task": task.name,
        "custom_dataset": lambda **_: {"test": documents},
        "test_split": "test",
        "fewshot_split": "test" if task.num_fewshot else None,
        "num_fewshot": task.num_fewshot,
        "metric_list": [{"metric": task.metric, "aggregation": "mean", "higher_is_better": True}],
        **task.lm_eval,
    }
    if "rules" in rows[0].values and "process_results" not in config:
        config["process_results"] = lambda document, results: {
            task.metric: float(check_rules(results[0], document["rules"]))
        }
    with _faults(task, place):
        harness = ConfigurableTask(config=config)
    harness.set_fewshot_seed(FEWSHOT_SEED)
    return harness


@contextmanager
def _faults(task: SuiteTask, place: str) -> Iterator[None]:
    """Turn what the harness throws at settings that do not fit their rows into BadInput with the task's line."""
    from jinja2 import TemplateError

    try:
        yield
    except (
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        SyntaxError,
        AssertionError,
        TemplateError,
    ) as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        hint = "Correct lm_eval there."
        raise BadInput(f"{place}: the harness refuses the task {task.name}: {said}", hint=hint) from error


def _chat(tokenizer: PreTrainedTokenizerBase) -> Callable[..., str]:
    if tokenizer.chat_template is None:
        raise BadInput(
            "The suite has chat tasks, and the model has no chat template.",
            hint="Set model.chat_template to a Jinja file, or check with a suite without `chat: true`.",
        )

    def render(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return cast(
            "str",
            tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            ),
        )

    return render


def _question(
    task: SuiteTask, harness: Any, row: Row, number: int, render: Callable[..., str] | None
) -> Question:
    from finetop.core.check.permutation import Item

    document = harness.eval_docs[number]
    # Examples are drawn anew for each item, so that its prompt does not hang on the items before it.
    harness.set_fewshot_seed(
        int.from_bytes(hashlib.sha256(row.id.encode()).digest()[:4], "big") ^ FEWSHOT_SEED
    )
    with_template: dict[str, Any] = {"apply_chat_template": render is not None, "chat_template": render}
    context = harness.fewshot_context(
        document, num_fewshot=task.num_fewshot, gen_prefix=harness.doc_to_prefix(document), **with_template
    )
    made = harness.construct_requests(
        doc=document, ctx=context, metadata=(task.name, number, 1), **with_template
    )
    instances = tuple(made) if isinstance(made, list) else (made,)
    text = document.get("question") or document.get("prompt") or harness.doc_to_text(document)
    asked = [list(map(str, instance.args)) for instance in instances]
    settings: dict[str, Any] = {}
    if harness.OUTPUT_TYPE == "generate_until":
        settings = dict(instances[0].args[1] or {})
    choices = tuple(map(str, harness.doc_to_choice(document))) if harness.config.doc_to_choice else ()
    stop = settings.get("until") or ()
    gold = _gold(harness, document, choices)
    return Question(
        item=Item(task.name, row.id, row.cluster),
        category=row.category,
        text=str(text or (choices[gold] if gold is not None else "")),
        pairs=() if settings else tuple((pair[0], pair[1]) for pair in asked if len(pair) == 2),
        prompt=asked[0][0],
        stop=(stop,) if isinstance(stop, str) else tuple(ending for ending in stop if ending),
        max_new_tokens=int(settings.get("max_gen_toks", LONGEST_WRITTEN)),
        choices=choices,
        gold=gold,
        prompt_hash=_hash_item(asked, row),
        instances=instances,
    )


def _hash_item(asked: list[list[str]], row: Row) -> str:
    """Hash all of an item that can move its score: what the model gets, and the gold answer or rules in its row."""
    judged = {key: value for key, value in row.values.items() if key not in ("category", "cluster")}
    return hashlib.sha256(json.dumps([asked, judged], sort_keys=True).encode()).hexdigest()[:24]


def _gold(harness: Any, document: Mapping[str, Any], choices: Sequence[str]) -> int | None:
    gold = harness.doc_to_text(document) if harness.multiple_input else harness.doc_to_target(document)
    if isinstance(gold, list) and gold:
        gold = gold[0]
    if isinstance(gold, str) and gold in choices:
        return choices.index(gold)
    return gold if isinstance(gold, int) and 0 <= gold < len(choices) else None


def judge_likelihoods(task: BenchmarkTask, question: Question, scored: Sequence[Scored]) -> ItemScore:
    """Judge an item from the log-probabilities of its choices, by the task's own metric."""
    responses = [(one.log_prob, one.is_greedy) for one in scored]
    value = _metric(task, question, responses)
    if not question.choices:
        return ItemScore(question.item.item, value, gold_log_prob=scored[0].log_prob)
    log_probs = [one.log_prob for one in scored[: len(question.choices)]]
    lengths = [_length(choice, task.suite_task.metric) for choice in question.choices]
    weighed = [each / length for each, length in zip(log_probs, lengths, strict=True)]
    picked = max(range(len(weighed)), key=weighed.__getitem__)
    gold = question.gold
    return ItemScore(
        item=question.item.item,
        score=value,
        answer=question.choices[picked][:LONGEST_ANSWER_KEPT],
        answer_log_prob=log_probs[picked],
        gold_log_prob=None if gold is None else log_probs[gold],
        best_other_log_prob=None
        if gold is None
        else max((each for place, each in enumerate(log_probs) if place != gold), default=None),
    )


def _length(choice: str, metric: str) -> int:
    """Give what a metric divides a choice's log-probability by."""
    if metric == "acc_norm":
        return max(1, len(choice))
    return max(1, len(choice.encode())) if metric == "acc_bytes" else 1


def judge_answer(task: BenchmarkTask, question: Question, answer: str) -> ItemScore:
    """Judge an item from the answer that was written, by the task's own filters and metric."""
    return ItemScore(question.item.item, _metric(task, question, [answer]), answer[:LONGEST_ANSWER_KEPT])


def _metric(task: BenchmarkTask, question: Question, responses: Sequence[Any]) -> float:
    """Run the harness's filters and metric on raw responses, one for each request."""
    instances = list(question.instances)
    for instance, response in zip(instances, responses, strict=True):
        instance.resps, instance.filtered_resps = [response], {}
    first = task.harness._filters[0]
    first.apply(instances)
    results = [instance.filtered_resps[first.name] for instance in instances]
    values: dict[str, Any] = task.harness.process_results(instances[0].doc, results)
    name = task.suite_task.metric
    if name not in values:
        raise BadInput(f"{task.suite_task.name}: it has no metric {name}.", hint=did_you_mean(name, values))
    value = values[name]
    if not isinstance(value, int | float) or not 0 <= float(value) <= 1:
        raise BadInput(
            f"{task.suite_task.name}: {name} of item {question.item.item} is {str(value)[:60]}.",
            hint="Only scores in [0, 1] can decide.",
        )
    return float(value)


def _try_metric(task: BenchmarkTask, place: str) -> None:
    """Judge a made-up answer, so that a metric or rule that does not fit fails before the model is loaded."""
    for question in task.questions:
        responses = [""] if task.kind == "generation" else [(-1.0, False)] * len(question.pairs)
        try:
            _metric(task, question, responses)
        except BadInput as error:
            hint = error.hint
            raise BadInput(f"{place}: item {question.item.item}: {error.message}", hint=hint) from error
