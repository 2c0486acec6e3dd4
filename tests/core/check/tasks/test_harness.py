"""Tasks of the harness by YAML file and by name: data files found beside the file, code refused, missing data named."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_run import write_rows

from finetop.core.check.tasks import harness
from finetop.core.check.tasks.grading import grade_answer
from finetop.core.check.tasks.requests import build, requests_of
from finetop.core.check.tasks.suite import load_suite
from finetop.core.errors import BadInput, EnvironmentTrouble

DATA = Path(os.environ.get("FINETOP_TEST_DATA", "/nonexistent"))
TASK = """\
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: rows/capitals.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{country}}:"
doc_to_choice: cities
doc_to_target: right
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
ROWS = [
    {"country": f"Land {n}", "cities": ["Aby", "Boo", "Cla"], "right": n % 3, "region": f"r{n // 2}"}
    for n in range(12)
]


@pytest.fixture(scope="module")
def of_arc():
    """Return the harness's task list for one folder only: reading all 14,000 files takes 5 s."""
    from lm_eval import tasks

    return tasks.TaskManager(include_defaults=False, include_path=str(Path(tasks.__file__).parent / "arc"))


@pytest.fixture
def folder(tmp_path, of_arc, monkeypatch):
    """Write TMP/tasks/own/capitals.yaml, with its rows in TMP/rows, two folders above; the hub does not answer."""
    (tmp_path / "rows").mkdir()
    write_rows(tmp_path / "rows" / "capitals.jsonl", ROWS)
    (tmp_path / "tasks" / "own").mkdir(parents=True)
    (tmp_path / "tasks" / "own" / "capitals.yaml").write_text(TASK)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(harness, "hub_answers", lambda: False)
    monkeypatch.setattr(harness, "task_manager", lambda: of_arc)
    return tmp_path


def built(folder: Path, task: str = "yaml: tasks/own/capitals.yaml") -> Any:
    """Write a suite of one task, and build it."""
    (folder / "own.yaml").write_text(f"suite: 1\nname: own\ntasks:\n  - {{{task}}}\n")
    (task,) = build(load_suite(folder / "own.yaml"))
    return task


def change(folder: Path, old: str, new: str) -> None:
    (folder / "tasks" / "own" / "capitals.yaml").write_text(TASK.replace(old, new, 1))


def test_a_yaml_finds_its_rows_wherever_one_works_and_a_changed_one_has_another_fingerprint(
    folder, tiny_tokenizer, monkeypatch
):
    monkeypatch.chdir("/")
    task = built(folder, "yaml: tasks/own/capitals.yaml, metric: acc_norm, cluster: region")
    assert (task.name, task.metric, len(task.documents)) == ("capitals", "acc_norm", 12)
    assert task.documents[0].item.cluster == task.documents[1].item.cluster != task.documents[2].item.cluster
    questions = requests_of(task, [document.item for document in task.documents[3:5]], tiny_tokenizer)
    assert [question.gold for question in questions] == [0, 1]
    assert questions[1].pairs[2] == ("Land 4:", " Cla")
    before = built(folder)
    change(folder, "{{country}}:", "{{country}} has:")
    assert before.fingerprint != built(folder).fingerprint


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rows/capitals", "rows/absent", "data_files names rows/absent.jsonl"),
        ("doc_to_target", "doc_to_goal", "doc_to_goal is not a setting of a harness task"),
        ("output_type: multiple_choice", "output_type: multiple_choices", "invalid output_type"),
        ("doc_to_choice: cities", "doc_to_choice: towns", "the harness refuses the task capitals"),
        ("test_split: test", "test_split: tests", "the harness refuses the task capitals"),
        ("right\n", "!function own.right\n", "runs Python from files next to it"),
        ("task: capitals", "task: [capitals", "can't read the task"),
    ],
)
def test_a_faulty_yaml_is_one_error(folder, tiny_tokenizer, old, new, said):
    change(folder, old, new)
    with pytest.raises(BadInput) as caught:
        task = built(folder)
        requests_of(task, [document.item for document in task.documents], tiny_tokenizer)
    assert said in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("metric: bleu", "capitals has no metric bleu"),
        ("cluster: land", "capitals has no such column"),
        ("filter: strict", "capitals has no filter strict"),
    ],
)
def test_settings_that_the_task_does_not_have(folder, settings, said):
    with pytest.raises(BadInput, match=said):
        built(folder, f"yaml: tasks/own/capitals.yaml, {settings}")


def test_code_beside_a_yaml_runs_where_it_is_trusted(folder, tiny_tokenizer):
    change(folder, "right\n", "!function lands.last\n")
    (folder / "tasks" / "own" / "lands.py").write_text("def last(doc):\n    return len(doc['cities']) - 1\n")
    try:
        task = built(folder, "yaml: tasks/own/capitals.yaml, trust_code: true")
        (question, *_) = requests_of(task, [task.documents[0].item], tiny_tokenizer)
    finally:
        sys.modules.pop("lands", None)
    assert question.gold == 2


def test_a_task_by_name_with_a_local_copy_of_its_data(folder, tiny_tokenizer):
    choices = {"text": ["a", "b", "c"], "label": ["A", "B", "C"]}
    rows = [{"question": f"What is {n}?", "choices": choices, "answerKey": "ABC"[n % 3]} for n in range(9)]
    write_rows(folder / "rows" / "arc.jsonl", rows)
    local = "{dataset_path: json, dataset_kwargs: {data_files: {test: rows/arc.jsonl}}}"
    task = built(folder, f"task: arc_easy, metric: acc_norm, lm_eval: {local}")
    assert (task.name, task.metric, len(task.documents)) == ("arc_easy", "acc_norm", 9)
    (question, *_) = requests_of(task, [task.documents[4].item], tiny_tokenizer)
    assert (question.pairs[1], question.gold) == (("Question: What is 4?\nAnswer:", " b"), 1)


def test_unknown_names_data_out_of_reach_and_tasks_that_run_what_a_model_writes_are_refused(folder):
    says = r"own\.yaml:4: the harness has no task 'arc_esy'\. Did you mean arc_easy"
    with pytest.raises(BadInput, match=says):
        built(folder, "task: arc_esy")
    with pytest.raises(EnvironmentTrouble, match="the data set of arc_easy") as caught:
        built(folder, "task: arc_easy")
    assert "allenai/ai2_arc" in caught.value.message
    assert "finetop suites SUITE --fetch" in caught.value.hint
    assert caught.value.exit_code == 4
    change(folder, "task:", "unsafe_code: true\ntask:")
    with pytest.raises(BadInput, match="runs code that a model generates"):
        built(folder)


@pytest.mark.slow
def test_every_task_of_the_harness_is_known_by_name():
    known = harness.task_manager().task_index
    assert len(known) > 10_000 and {"arc_easy", "blimp", "mmlu"} <= set(known)


@pytest.mark.skipif(not DATA.is_dir(), reason="FINETOP_TEST_DATA names no folder of data sets")
@pytest.mark.parametrize(
    ("name", "metric", "kind", "items"),
    [
        ("arc_easy", "acc", "likelihood", 1200), ("blimp", "acc", "likelihood", 1150),
        ("winogrande", "acc", "likelihood", 725), ("lambada_openai", "acc", "likelihood", 1000),
        ("triviaqa", "exact_match", "generation", 600), ("gsm8k", "exact_match", "generation", 700),
        ("mmlu", "acc", "likelihood", 1254),
    ],
)  # fmt: skip
def test_real_tasks_are_asked(folder, tiny_tokenizer, name, metric, kind, items):
    task = built(folder, f"yaml: {DATA}/lm_eval_tasks/open/rx_{name}.yaml")
    assert (task.metric, task.kind, len(task.documents)) == (metric, kind, items)
    questions = requests_of(task, [document.item for document in task.documents[:20]], tiny_tokenizer)
    assert all(question.text.strip() for question in questions)
    if name == "gsm8k":
        assert questions[0].prompt.count("Question:") == 6
        gold = task.documents[0].values["answer"].split("#### ")[1]
        assert grade_answer(task, questions[0], f"So it is.\n#### {gold}").score == 1.0
        assert grade_answer(task, questions[0], "So it is.\n#### -1").score == 0.0


@pytest.mark.skipif(not DATA.is_dir(), reason="FINETOP_TEST_DATA names no folder of data sets")
def test_rolling_perplexity_cannot_decide(folder):
    with pytest.raises(BadInput, match="whose scores have no bounds: loglikelihood_rolling"):
        built(folder, f"yaml: {DATA}/lm_eval_tasks/open/rx_wikitext2.yaml")
