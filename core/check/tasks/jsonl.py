"""A file of rows as a task of the harness: by the settings under lm_eval, or by the shape of its rows alone.

Plain rows need no settings. Their keys determine how they are asked:

- choice   {question, choices, answer}: which choice is likeliest? The answer is a choice's number from 0, its
           letter, or its text; any number of choices
- pair     {good, bad}: which of two texts is likelier?
- written  {prompt, answer}: does the model write the answer (one text, or a list of accepted ones)?
- cloze    {prompt, answer} with `shape: cloze`: is the answer the model's likeliest continuation?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from finetop.core.check.tasks.suite import (
    BUILT_IN,
    Row,
    Shape,
    SuiteTask,
    find_suite,
    read_examples,
    read_rows,
)
from finetop.core.errors import BadInput
from finetop.core.recipe.answer_rules import check_rules, exact
from finetop.core.runtime.home import Home
from finetop.core.text import quoted

KEYS: Mapping[Shape, tuple[str, ...]] = {
    "choice": ("question", "choices", "answer"),
    "pair": ("good", "bad"),
    "written": ("prompt", "answer"),
    "cloze": ("prompt", "answer"),
}
CHOICE = {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "gold"}
SETTINGS: Mapping[Shape, Mapping[str, Any]] = {
    "choice": {**CHOICE, "doc_to_text": "Question: {{question}}\nAnswer:"},
    "pair": {**CHOICE, "doc_to_text": "", "target_delimiter": ""},
    "written": {
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answers[0]}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 64, "do_sample": False},
    },
    "cloze": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{continuation}}",
        "target_delimiter": "",
    },
}
METRICS: Mapping[Shape, str] = {"choice": "acc", "pair": "acc", "written": "exact_match", "cloze": "acc"}


class Documents(list[dict[str, Any]]):
    """Rows as the harness reads a data set: a list that knows its columns. Arrow refuses columns of mixed types."""

    @property
    def features(self) -> dict[str, None]:
        """Name the columns of the first row."""
        return dict.fromkeys(self[0])


def require_items(name: str, home: Home) -> None:
    """Require that the rows of a suite's own files are items. Raises NotFound, BadInput with the line."""
    suite = find_suite(name, home)
    for task in suite.tasks if suite.file.parent != BUILT_IN else ():
        if task.data is not None:
            config_of(task)


def config_of(task: SuiteTask) -> tuple[tuple[Row, ...], dict[str, Any]]:
    """Return a task's rows and the harness's configuration. Raises BadInput with the line of a row of other shape."""
    rows, examples = read_rows(task), read_examples(task)
    shape = None if "output_type" in task.lm_eval or task.shape is None else task.shape
    if shape is None and "output_type" not in task.lm_eval:
        shape = shape_of(rows[0])
    metric = task.metric or (METRICS[shape] if shape else "acc")
    plain = (lambda row: row.values) if shape is None else (lambda row: shaped(row, shape))
    documents = Documents(plain(row) for row in rows)
    shots = Documents(plain(row) for row in examples)
    config: dict[str, Any] = {
        "task": task.name,
        "custom_dataset": lambda **_: {"test": documents, "examples": shots},
        "test_split": "test",
        "num_fewshot": task.num_fewshot or 0,
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True}],
        **(dict(SETTINGS[shape]) if shape else {}),
        **task.lm_eval,
    }
    if task.num_fewshot:
        config["fewshot_split"] = "examples" if shots else "test"
        if shots:
            config["fewshot_config"] = {"sampler": "first_n"}
    if shape == "choice" and task.chat and "doc_to_text" not in task.lm_eval:
        config["doc_to_text"] = "{{question}}"
    if shape == "written" and metric == "exact_match":
        config["process_results"] = lambda document, results: {
            metric: float(any(exact(results[0], answer) for answer in document["answers"]))
        }
    if "rules" in rows[0].values and "process_results" not in task.lm_eval:
        config["process_results"] = lambda document, results: {
            metric: float(check_rules(results[0], document["rules"]))
        }
    return rows, config


def shape_of(row: Row) -> Shape:
    """Return the shape of a plain row, from its keys. Raises BadInput for one that fits no shape."""
    for shape, keys in KEYS.items():
        by_rules = shape == "written" and {"prompt", "rules"} <= row.values.keys()
        if by_rules or all(key in row.values for key in keys):
            return shape
    shapes = "; or ".join(", ".join(keys) for keys in (KEYS["choice"], KEYS["written"], KEYS["pair"]))
    message = f"{row.place}: these keys do not form an item: {', '.join(sorted(row.values))[:200]}."
    raise BadInput(message, hint=f"Rows have {shapes}. Or set their prompt under lm_eval.")


def shaped(row: Row, shape: Shape) -> dict[str, Any]:
    """Return a plain row with the columns that its shape's settings name."""
    there = {*row.values, *(("answer",) if "rules" in row.values else ())}
    missing = [key for key in KEYS[shape] if key not in there]
    if missing:
        hint = f"A row of shape {shape} has {', '.join(KEYS[shape])}."
        raise BadInput(f"{row.place}: {missing[0]} is missing.", hint=hint)
    if shape == "choice":
        return _choice(row)
    if shape == "pair":
        return {**row.values, "choices": [_text(row, "good"), _text(row, "bad")], "gold": 0}
    prompt = _text(row, "prompt")
    answers = _answers(row)
    apart = "" if not prompt or prompt[-1:].isspace() else " "
    return {**row.values, "prompt": prompt, "answers": answers, "continuation": apart + answers[0]}


def _choice(row: Row) -> dict[str, Any]:
    choices = _listed(row.values["choices"])
    if not isinstance(choices, list) or len(choices) < 2 or not all(map(_is_text, choices)):
        hint = "Give a list of two texts or more, none empty."
        raise BadInput(f"{row.place}: choices is {quoted(choices)}.", hint=hint)
    answer, gold = row.values["answer"], None
    if isinstance(answer, int) and not isinstance(answer, bool):
        gold = answer
    elif answer in choices:
        gold = choices.index(answer)
    elif isinstance(answer, str) and answer.strip().isdecimal():  # from a table, whose values are texts
        gold = int(answer)
    elif isinstance(answer, str) and len(answer.strip()) == 1:
        gold = ord(answer.strip().upper()) - ord("A")
    if gold is None or not 0 <= gold < len(choices):
        message = f"{row.place}: answer is {quoted(answer)}, and there are {len(choices)} choices."
        hint = "Give the right one's number from 0, its letter (A is the first), or its text."
        raise BadInput(message, hint=hint)
    return {**row.values, "question": _text(row, "question"), "choices": choices, "gold": gold}


def _answers(row: Row) -> Sequence[str]:
    answer = row.values.get("answer", "")
    answers = answer if isinstance(answer, list) else [answer]
    texts = [str(each) if type(each) in (int, float) else each for each in answers]
    if "rules" in row.values and not any(map(_is_text, texts)):
        return [""]
    if not texts or not all(map(_is_text, texts)):
        raise BadInput(f"{row.place}: answer is {quoted(answer)}.", hint="Give a text, or a list of texts.")
    return texts


def _listed(value: Any) -> Any:
    """Return the list if a text is one as JSON, as tables store lists; any other value unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value


def _text(row: Row, key: str) -> str:
    value = row.values[key]
    if not isinstance(value, str):
        raise BadInput(f"{row.place}: {key} is {quoted(value)}; it must be text.", hint="Put it in quotes.")
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
