"""Suites become harness requests, graded by its metrics; faults are reported with file and line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tiny_run import write_rows

from finetop.core.check.scoring.scorer import Scored
from finetop.core.check.tasks.grading import grade_answer, grade_likelihoods
from finetop.core.check.tasks.requests import build, chance_of, requests_of
from finetop.core.check.tasks.suite import load_suite
from finetop.core.check.tasks.types import BenchmarkTask, Request
from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from pathlib import Path


def open_requests(file: Path, tokenizer: Any) -> list[tuple[BenchmarkTask, tuple[Request, ...]]]:
    """Open every task of a suite and render all its items."""
    return [
        (task, requests_of(task, [document.item for document in task.documents], tokenizer))
        for task in build(load_suite(file))
    ]


def test_questions_have_prompts_choices_and_gold(suite_folder, tiny_tokenizer):
    (_, numbers), (_, pairs), (_, orders) = open_requests(suite_folder / "tiny.yaml", tiny_tokenizer)
    question = numbers[4]
    assert question.item.key == ("numbers", "n4") and question.category == "even"
    assert question.pairs[0] == ("Question: What is 4 and 5?\nAnswer:", " 9")
    assert question.gold == 1
    assert pairs[3].item.cluster == "c1"
    assert pairs[3].pairs[0][0].count("The shop number") == 3  # two examples and the question
    assert "The shop number 3 is" not in pairs[3].pairs[0][0].removesuffix("The shop number 3 is")
    order = orders[2]
    assert order.prompt == "<|user|>Say 2 in a word.<|end|>\n<|assistant|>"
    assert (order.stop, order.max_new_tokens) == (("\n",), 6)


def test_prompts_do_not_hang_on_other_items(suite_folder, tiny_tokenizer):
    _, (task, whole), _ = open_requests(suite_folder / "tiny.yaml", tiny_tokenizer)
    _, (_, again), _ = open_requests(suite_folder / "tiny.yaml", tiny_tokenizer)
    few = requests_of(task, [question.item for question in whole[20:]], tiny_tokenizer)
    assert [q.prompt_hash for q in whole] == [q.prompt_hash for q in again]
    assert [q.prompt_hash for q in whole[20:]] == [q.prompt_hash for q in few]
    assert len({q.prompt_hash for q in whole}) == len(whole)


def test_the_metric_judges(suite_folder, tiny_tokenizer):
    (numbers, n), (pairs, p), (orders, o) = open_requests(suite_folder / "tiny.yaml", tiny_tokenizer)
    best_is_second = [Scored(-3.0, False), Scored(-1.0, True), Scored(-2.0, False)]
    right = grade_likelihoods(numbers, n[4], best_is_second)
    assert (right.score, right.answer, right.gold_log_prob, right.best_other_log_prob) == (
        1.0,
        "4",
        -1.0,
        -2.0,
    )
    assert grade_likelihoods(numbers, n[5], best_is_second).score == 0.0
    # acc_norm divides by length: -4 / 8 characters loses against -6 / 31.
    by_length = grade_likelihoods(pairs, p[1], [Scored(-4.0, False), Scored(-6.0, False)])
    assert (by_length.score, by_length.answer) == (1.0, "an old mill behind the station")
    assert grade_answer(orders, o[0], "one").score == 1.0
    assert grade_answer(orders, o[0], "one two").score == 0.0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("doc_to_target", "doc_to_goal", "lm_eval.doc_to_goal is not a setting of the harness. Options: "),
        ("metric: acc\n", "metric: acc_nrom\n", "acc_nrom"),
        ("output_type: generate_until", "output_type: loglikelihood_rolling", "no bounds"),
        ("doc_to_choice: choices", 'doc_to_choice: "{{absent}}"', "the harness refuses the task numbers"),
    ],
)
def test_a_faulty_task_names_its_line(suite_folder, tiny_tokenizer, old, new, said):
    file = suite_folder / "tiny.yaml"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(BadInput, match=r"tiny\.yaml:") as caught:
        open_requests(file, tiny_tokenizer)
    assert said in str(caught.value)


def test_a_faulty_rule_fails_before_any_model_and_chat_tasks_need_a_template(suite_folder, tiny_tokenizer):
    bare = type(tiny_tokenizer).from_pretrained(tiny_tokenizer.name_or_path)
    bare.chat_template = None
    with pytest.raises(BadInput, match="no chat template"):
        open_requests(suite_folder / "tiny.yaml", bare)
    file = suite_folder / "orders.jsonl"
    file.write_text(file.read_text().replace('"max_words"', '"max_wrods"', 1))
    with pytest.raises(BadInput, match=r"item o0: 'max_wrods' is not a rule. Did you mean max_words"):
        open_requests(suite_folder / "tiny.yaml", tiny_tokenizer)


def test_a_changed_gold_answer_or_rule_changes_the_hash(suite_folder, tiny_tokenizer):
    before = open_requests(suite_folder / "tiny.yaml", tiny_tokenizer)
    for name, old, new in (("numbers", '"gold": 0', '"gold": 1'), ("orders", '"value": 1}', '"value": 2}')):
        file = suite_folder / f"{name}.jsonl"
        file.write_text(file.read_text().replace(old, new, 1))
    after = open_requests(suite_folder / "tiny.yaml", tiny_tokenizer)
    for place in (0, 2):
        hashes = [[q.prompt_hash for q in tasks[place][1]] for tasks in (before, after)]
        changed = [at for at, (one, other) in enumerate(zip(*hashes, strict=True)) if one != other]
        assert changed == [0]


def test_exact_match_of_written_answers_needs_no_network(suite_folder, tiny_tokenizer):
    file = suite_folder / "tiny.yaml"
    text = file.read_text().replace("metric: follows", "metric: exact_match")
    file.write_text(text.replace("doc_to_target: answer", 'doc_to_target: "{{id}}"'))
    rows = (suite_folder / "orders.jsonl").read_text().replace('"rules"', '"unused"')
    (suite_folder / "orders.jsonl").write_text(rows)
    _, _, (orders, o) = open_requests(file, tiny_tokenizer)
    assert grade_answer(orders, o[3], "o3").score == 1.0
    assert grade_answer(orders, o[3], "o4").score == 0.0


def test_chance_is_worked_out(suite_folder, tiny_tokenizer):
    """1/choices; the majority's share if the labels are fixed; 0 for free answers; else the suite's own value."""
    choices = {"choices": ["no", "yes"]}
    rows = [{"question": f"Is {n} even?", **choices, "answer": "yes" if n % 4 else "no"} for n in range(40)]
    write_rows(suite_folder / "fixed.jsonl", rows)
    text = "suite: 1\nname: fixed\ntasks:\n  - data: fixed.jsonl\n  - {name: said, data: fixed.jsonl, chance: 0.3}\n"
    (suite_folder / "fixed.yaml").write_text(text)
    fixed, stated = open_requests(suite_folder / "fixed.yaml", tiny_tokenizer)
    assert chance_of(*fixed) == 0.75
    assert chance_of(*stated) == 0.3
    file = suite_folder / "tiny.yaml"
    file.write_text(file.read_text().replace("    chance: 0.0\n", ""))
    numbers, pairs, orders = open_requests(file, tiny_tokenizer)
    assert [chance_of(*each) for each in (numbers, pairs, orders)] == pytest.approx([1 / 3, 0.5, 0.0])
