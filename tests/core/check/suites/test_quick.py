"""The suite quick is complete and balanced, repeats nothing, and the harness accepts every task of it."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from finetop.core.check.tasks.jsonl import Documents
from finetop.core.check.tasks.suite import Suite, SuiteTask, load_suite, read_rows
from finetop.core.recipe.answer_rules import check_rules

if TYPE_CHECKING:
    from finetop.core.check.tasks.suite import Row

ITEMS = 96
NAMES = ("knowledge", "arithmetic", "common_sense", "reading", "words", "grammar", "instructions")
CHOICE_NAMES = NAMES[:-1]
# Tasks in which an echo of the prompt keeps the rules, because the prompt contains the required word.
ECHOED = {"use_word", "about"}


@pytest.fixture(scope="module")
def quick():
    return load_suite(Path(str(files("finetop.core.check.suites") / "quick.yaml")))


def task_of(quick: Suite, name: str) -> SuiteTask:
    return next(task for task in quick.tasks if task.name == name)


def rows_of(quick: Suite, name: str) -> tuple[Row, ...]:
    return read_rows(task_of(quick, name))


def test_tasks_have_equal_counts_unique_ids_no_clusters_and_no_question_twice(quick):
    assert tuple(task.name for task in quick.tasks) == NAMES
    assert [len(rows_of(quick, name)) for name in NAMES] == [ITEMS] * len(NAMES)
    assert {task.cap for task in quick.tasks} == {ITEMS}
    identities = [row.id for name in NAMES for row in rows_of(quick, name)]
    assert len(set(identities)) == len(identities)
    assert all(row.cluster == "" and row.category for name in NAMES for row in rows_of(quick, name))
    for name in NAMES:
        values = [row.values for row in rows_of(quick, name)]
        questions = [
            row.get("prompt") or row["question"] or " / ".join(sorted(row["choices"])) for row in values
        ]
        assert [question for question, count in Counter(questions).items() if count > 1] == []


def test_choices_differ_and_gold_is_one_of_them_in_balanced_places(quick):
    for name in CHOICE_NAMES:
        chance, rows = task_of(quick, name).chance, rows_of(quick, name)
        places = Counter(row.values["gold"] for row in rows)
        assert places == dict.fromkeys(range(round(1 / chance)), ITEMS // round(1 / chance))
        for row in rows:
            choices = row.values["choices"]
            assert len(choices) == round(1 / chance)
            assert len({choice.strip().casefold() for choice in choices}) == len(choices), row.id
            assert all(choice == choice.strip() and choice for choice in choices), row.id


def test_instructions_are_kept_by_their_example_alone_and_general_text_is_paragraphs(quick):
    for row in rows_of(quick, "instructions"):
        assert check_rules(row.values["answer"], row.values["rules"]), row.id
        assert not check_rules("", row.values["rules"]), row.id
        assert not check_rules(row.values["prompt"], row.values["rules"]) or row.category in ECHOED, row.id
    assert quick.text is not None
    text = quick.text.read_text(encoding="utf-8")
    assert 18_000 <= len(text.encode()) <= 24_000
    paragraphs = text.strip().split("\n\n")
    assert len(paragraphs) > 30
    assert len(set(paragraphs)) == len(paragraphs)
    assert not any("\n" in paragraph for paragraph in paragraphs)


@pytest.mark.parametrize("name", NAMES)
def test_the_harness_accepts_the_task(quick, name):
    document = dict(rows_of(quick, name)[0].values)
    task = harness_task(task_of(quick, name))
    requests = task.construct_requests(doc=document, ctx=task.doc_to_text(document), metadata=(name, 0, 1))
    if name == "instructions":
        settings = {"until": ["\n"], "max_gen_toks": 24, "do_sample": False}
        assert requests.args == (document["prompt"], settings)
        return
    space = "" if name == "grammar" else " "
    assert [request.args[1] for request in requests] == [space + choice for choice in document["choices"]]
    assert all(document["question"] in request.args[0] for request in requests)
    assert task.doc_to_target(document) == document["gold"]


def harness_task(task: SuiteTask) -> Any:
    """Build the harness's own task from the suite's settings and the rows in memory."""
    from lm_eval.api.task import ConfigurableTask

    rows = Documents(row.values for row in read_rows(task))
    settings = {"task": task.name, "test_split": "test", "custom_dataset": lambda **_: {"test": rows}}
    return ConfigurableTask(config={**settings, **task.lm_eval})
