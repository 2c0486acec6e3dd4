"""A plain .jsonl is a task without any settings: any number of choices, pairs, cloze, written answers."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest
from tiny_run import write_rows

from finetop.core.check.scoring.scorer import Scored
from finetop.core.check.tasks.grading import grade_answer, grade_likelihoods
from finetop.core.check.tasks.requests import build, requests_of
from finetop.core.check.tasks.suite import load_suite
from finetop.core.check.tasks.types import BenchmarkTask, Request
from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CHOICES = [
    {"question": "Which is a fish?", "choices": ["oak", "pike", "crow"], "answer": 1},
    {"question": "Which is a tree?", "choices": ["oak", "pike"], "answer": "A"},
    {"question": "Which is a bird?", "choices": ["elm", "ash", "eel", "asp", "tit"], "answer": "tit"},
]
PAIRS = [{"good": "They are here.", "bad": "They is here."}, {"good": "A dog barks.", "bad": "A dog bark."}]
OPEN = [
    {"prompt": "2 + 2 =", "answer": "4"},
    {"prompt": "A colour of the flag of Japan: ", "answer": ["white", "red"]},
]


def open_task(
    folder: Path, rows: Sequence[dict[str, Any]], tokenizer: Any, settings: str = ""
) -> tuple[BenchmarkTask, tuple[Request, ...]]:
    write_rows(folder / "own.jsonl", rows)
    (folder / "own.yaml").write_text(f"suite: 1\nname: own\ntasks:\n  - data: own.jsonl\n{settings}")
    (task,) = build(load_suite(folder / "own.yaml"))
    return task, requests_of(task, [document.item for document in task.documents], tokenizer)


def test_choices_of_any_number_with_the_answer_by_number_letter_or_text(tmp_path, tiny_tokenizer):
    task, questions = open_task(tmp_path, CHOICES, tiny_tokenizer)
    assert (task.name, task.metric, task.kind) == ("own", "acc", "likelihood")
    assert [question.item.item for question in questions] == ["1", "2", "3"]  # line numbers
    assert [question.gold for question in questions] == [1, 0, 4]
    assert [len(question.pairs) for question in questions] == [3, 2, 5]
    assert questions[0].pairs[1] == ("Question: Which is a fish?\nAnswer:", " pike")
    best_is_last = [Scored(-9.0, False)] * 4 + [Scored(-1.0, True)]
    assert grade_likelihoods(task, questions[2], best_is_last).score == 1.0
    assert grade_likelihoods(task, questions[0], best_is_last[2:]).score == 0.0


def test_a_table_is_a_task_as_its_rows_would_be(tmp_path, tiny_tokenizer):
    _, requests = open_task(tmp_path, CHOICES, tiny_tokenizer)
    with (tmp_path / "own.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(CHOICES[0]))
        writer.writeheader()
        for row in CHOICES:
            writer.writerow({**row, "choices": json.dumps(row["choices"])})
    (tmp_path / "own.yaml").write_text("suite: 1\nname: own\ntasks:\n  - data: own.csv\n")
    (table,) = build(load_suite(tmp_path / "own.yaml"))
    from_table = requests_of(table, [document.item for document in table.documents], tiny_tokenizer)
    asked = [[(request.gold, request.pairs) for request in each] for each in (from_table, requests)]
    assert asked[0] == asked[1]


def test_pairs_have_nothing_in_front_and_written_answers_match_one_of_the_texts(tmp_path, tiny_tokenizer):
    task, questions = open_task(tmp_path, PAIRS, tiny_tokenizer)
    assert questions[1].pairs == (("", "A dog barks."), ("", "A dog bark."))
    assert grade_likelihoods(task, questions[1], [Scored(-2.0, False), Scored(-3.0, False)]).score == 1.0
    task, questions = open_task(tmp_path, OPEN, tiny_tokenizer)
    assert (task.kind, task.metric) == ("generation", "exact_match")
    assert questions[0].stop == ("\n",)
    assert grade_answer(task, questions[0], " 4.").score == 1.0
    assert grade_answer(task, questions[0], "44").score == 0.0
    assert grade_answer(task, questions[1], "Red").score == 1.0


def test_cloze_asks_for_the_likelihood_of_what_follows_and_rows_of_no_shape_are_refused(
    tmp_path, tiny_tokenizer
):
    task, questions = open_task(tmp_path, OPEN, tiny_tokenizer, "    shape: cloze\n")
    # the second prompt ends with a space
    assert [question.pairs[0][1] for question in questions] == [" 4", "white"]
    assert grade_likelihoods(task, questions[0], [Scored(-1.0, True)]).score == 1.0
    assert grade_likelihoods(task, questions[0], [Scored(-0.1, False)]).score == 0.0
    says = r"own\.jsonl:1: these keys do not form an item: id, sentence"
    with pytest.raises(BadInput, match=says) as caught:
        open_task(tmp_path, [{"sentence": "Hm."}], tiny_tokenizer)
    assert "question, choices, answer" in caught.value.hint


def test_examples_are_the_same_for_every_item(tmp_path, tiny_tokenizer):
    shots = [{"question": f"Which is {n}?", "choices": ["a", "b"], "answer": n % 2} for n in range(3)]
    write_rows(tmp_path / "shots.jsonl", shots)
    settings = "    examples: shots.jsonl\n    num_fewshot: 2\n"
    _, questions = open_task(tmp_path, CHOICES, tiny_tokenizer, settings)
    shown = "Question: Which is 0?\nAnswer: a\n\nQuestion: Which is 1?\nAnswer: b\n\n"
    beginning = f"{shown}Question: Which is a fish?\nAnswer:"
    assert questions[0].pairs[0][0] == beginning
    assert questions[2].pairs[0][0].startswith(beginning.removesuffix("fish?\nAnswer:"))
    with pytest.raises(BadInput, match=r"shots.jsonl has 3 examples, and num_fewshot of own is 4"):
        open_task(tmp_path, CHOICES, tiny_tokenizer, settings.replace("2", "4"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "?", "choices": ["a", "b"], "answer": 2}, "answer is 2, and there are 2 choices"),
        ({"question": "?", "choices": ["a", "b"], "answer": "c d"}, "answer is 'c d'"),
        ({"question": "?", "choices": ["a"], "answer": 0}, "choices is a list"),
        ({"question": "?", "choices": ["a", ""], "answer": 0}, "choices is a list"),
        ({"question": 3, "choices": ["a", "b"], "answer": 0}, "question is 3; it must be text"),
        ({"question": "?", "choices": ["a", "b"]}, "answer is missing"),
    ],
)
def test_a_row_that_does_not_fit_has_its_line(tmp_path, tiny_tokenizer, row, said):
    with pytest.raises(BadInput, match=r"own\.jsonl:4: ") as caught:
        open_task(tmp_path, [*CHOICES, row], tiny_tokenizer)
    assert said in str(caught.value)
