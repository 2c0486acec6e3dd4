"""Turns a suite into requests: every task is one of lm-evaluation-harness (0.4.13), rendered and graded by its code.

Prompts, choices, filters and metrics are the harness's. A task of a suite may have several parts, the members
of a group: its items are those of all parts, with the part's name as category.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from finetop.core.check.statistics.item_order import Item
from finetop.core.check.tasks import grading, harness, jsonl
from finetop.core.check.tasks.suite import Row, Suite, SuiteTask, task_fingerprint
from finetop.core.check.tasks.types import KINDS, LONGEST_ANSWER, BenchmarkTask, Document, Kind, Request
from finetop.core.data.render import held_to_limits
from finetop.core.errors import BadInput, did_you_mean
from finetop.core.text import quoted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


FEWSHOT_SEED = 1234


def build(suite: Suite) -> tuple[BenchmarkTask, ...]:
    """Open every task of a suite and its data set. Raises BadInput with the line, or EnvironmentTrouble."""
    harness.quiet()
    return tuple(build_task(task, place) for task, place in zip(suite.tasks, suite.places, strict=True))


def build_task(task: SuiteTask, place: str) -> BenchmarkTask:
    """Open one task."""
    if task.data is not None:
        rows, part = _own_rows(task, place)
        parts: tuple[Any, ...] = (part,)
        documents = [
            Document(Item(task.name, row.id, row.cluster), row.category, part, number)
            for number, row in enumerate(rows)
        ]
        fingerprint = task_fingerprint(task)
    else:
        parts = harness.load(task, place)
        documents = [document for part in parts for document in _documents(task, part, len(parts) > 1, place)]
        settings = [[part.task_name, part.VERSION, part.dump_config()] for part in parts]
        text = json.dumps([task_fingerprint(task), settings], sort_keys=True, default=str)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
    kinds = {KINDS.get(part.OUTPUT_TYPE) for part in parts}
    if None in kinds or len(kinds) > 1:
        types = ", ".join(sorted({part.OUTPUT_TYPE for part in parts}))
        fault = "output types" if len(kinds) > 1 else "an output type whose scores have no bounds"
        known = f"Only scores in [0, 1] can decide: use {', '.join(KINDS)}."
        hint = "Give its members as tasks of their own." if len(kinds) > 1 else known
        raise BadInput(f"{place}: {task.name} has {fault}: {types}.", hint=hint)
    metric = grading.metric_of(task, parts, place)
    return BenchmarkTask(task, place, cast("Kind", kinds.pop()), metric, fingerprint, tuple(documents))


def _own_rows(task: SuiteTask, place: str) -> tuple[tuple[Row, ...], Any]:
    from lm_eval.api.task import ConfigurableTask, TaskConfig

    known = set(TaskConfig.__dataclass_fields__)
    for key in task.lm_eval:
        if key not in known:
            hint = did_you_mean(key[:60], known)
            raise BadInput(f"{place}: lm_eval.{key} is not a setting of the harness.", hint=hint)
    rows, config = jsonl.config_of(task)
    with harness.faults(task, place, str(task.data)):
        part = ConfigurableTask(config=config)
    return rows, part


def _documents(task: SuiteTask, part: Any, is_member: bool, place: str) -> list[Document]:
    """Return a harness task's documents; their ids are its name and their number, which a version of it fixes."""
    name = part.task_name
    columns = list(getattr(part.task_docs, "features", None) or part.task_docs[0])
    if task.cluster is not None and task.cluster not in columns:
        message = f"{place}: cluster is {quoted(task.cluster)}, and {name} has no such column."
        raise BadInput(message, hint=did_you_mean(task.cluster, columns))
    if task.cluster is None:
        clusters = [""] * len(part.task_docs)
    else:
        values = part.task_docs[task.cluster]
        clusters = [hashlib.sha256(str(value).encode()).hexdigest()[:16] for value in values]
    prefix = f"{name}-" if is_member else ""
    return [
        Document(Item(task.name, f"{prefix}{number}", cluster), name if is_member else "", part, number)
        for number, cluster in enumerate(clusters)
    ]


def requests_of(task: BenchmarkTask, items: Iterable[Item], tokenizer: Tokenizer) -> tuple[Request, ...]:
    """Render the chosen items' prompts and try the metric on each, before a model is loaded. Raises BadInput."""
    wanted = {item.item for item in items}
    render = _chat(tokenizer) if task.suite_task.chat else None
    with harness.faults(task.suite_task, task.place, ""):
        chosen = [document for document in task.documents if document.item.item in wanted]
        requests = tuple(_question(task, document, render) for document in chosen)
        grading.try_out(task, requests)
    return requests


def chance_of(task: BenchmarkTask, requests: Sequence[Request]) -> float:
    """Return what guessing scores: 1/choices, or the majority label if labels are fixed; 0 for free answers."""
    if task.suite_task.chance is not None:
        return task.suite_task.chance
    golds = [request.gold for request in requests]
    if not requests or not all(len(request.choices) > 1 for request in requests) or None in golds:
        return 0.0
    guessing = sum(1 / len(request.choices) for request in requests) / len(requests)
    if len({request.choices for request in requests}) > 1 or len(requests) < 2:
        return guessing
    majority = Counter(golds).most_common(1)[0][1] / len(requests)
    return min(0.999, max(guessing, majority))


def _chat(tokenizer: Tokenizer) -> Callable[..., str]:
    if tokenizer.chat_template is None:
        hint = "Set model.chat_template to a Jinja file, or check with a suite without `chat: true`."
        raise BadInput("The suite has chat tasks, and the model has no chat template.", hint=hint)

    def render(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return held_to_limits(
            lambda: tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            ),
            "the suite's chat tasks",
        )

    return render


def _question(task: BenchmarkTask, document: Document, render: Callable[..., str] | None) -> Request:
    part, values, item = document.part, document.values, document.item
    shots = task.suite_task.num_fewshot
    shots = int(part.config.num_fewshot or 0) if shots is None else shots
    # Examples are drawn again for each item, so that its prompt does not depend on the items before it.
    seed = int.from_bytes(hashlib.sha256(item.item.encode()).digest()[:4], "big") ^ FEWSHOT_SEED
    part.set_fewshot_seed(seed)
    with_template: dict[str, Any] = {"apply_chat_template": render is not None, "chat_template": render}
    prefix = part.doc_to_prefix(values)
    context = part.fewshot_context(values, num_fewshot=shots, gen_prefix=prefix, **with_template)
    place = (item.task, document.number, 1)
    built = part.construct_requests(doc=values, ctx=context, metadata=place, **with_template)
    instances = tuple(built) if isinstance(built, list) else (built,)
    arguments = [list(map(str, instance.args)) for instance in instances]
    settings: dict[str, Any] = {}
    if part.OUTPUT_TYPE == "generate_until":
        settings = dict(instances[0].args[1] or {})
    choices = tuple(map(str, part.doc_to_choice(values))) if part.config.doc_to_choice else ()
    stop = settings.get("until") or ()
    gold = _gold(part, values, choices)
    return Request(
        item=item,
        category=document.category,
        text=_text_of(part, values, choices, gold),
        pairs=() if settings else tuple((pair[0], pair[1]) for pair in arguments if len(pair) == 2),
        prompt=arguments[0][0],
        stop=(stop,) if isinstance(stop, str) else tuple(ending for ending in stop if ending),
        max_new_tokens=int(settings.get("max_gen_toks", LONGEST_ANSWER)),
        choices=choices,
        gold=gold,
        prompt_hash=_hash_item(arguments, values),
        part=part,
        instances=instances,
    )


def _text_of(part: Any, values: Mapping[str, Any], choices: Sequence[str], gold: int | None) -> str:
    """Return the question alone; the right answer if there is no question (pairs of sentences)."""
    text = values.get("question") or values.get("prompt")
    if not isinstance(text, str):
        text = part.doc_to_text(values)
    if isinstance(text, int):  # with several inputs, the right one
        return choices[text] if 0 <= text < len(choices) else ""
    return str(text or (choices[gold] if gold is not None else ""))


def _hash_item(arguments: list[list[str]], values: Mapping[str, Any]) -> str:
    """Hash all of an item that can change its score: the model's input, and the gold answer or rules in its row."""
    judged = {key: value for key, value in values.items() if key not in ("category", "cluster")}
    text = json.dumps([arguments, judged], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _gold(part: Any, values: Mapping[str, Any], choices: Sequence[str]) -> int | None:
    gold = part.doc_to_text(values) if part.multiple_input else part.doc_to_target(values)
    if isinstance(gold, list) and gold:
        gold = gold[0]
    if isinstance(gold, str) and gold in choices:
        return choices.index(gold)
    return gold if isinstance(gold, int) and 0 <= gold < len(choices) else None
