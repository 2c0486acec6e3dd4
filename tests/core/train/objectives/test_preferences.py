"""Preferences: the better answer becomes likelier than the worse one, with each loss, with and without an adapter."""

import pytest
from transformers import AutoTokenizer

from finetop.core.data.formats import Message
from finetop.core.data.render import answer_ids, prompt_ids
from finetop.core.errors import BadInput
from finetop.core.protocol import events

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
METHODS = [("lora", 0.01), ("full", 0.003)]


@pytest.mark.parametrize(("method", "rate"), METHODS)
def test_dpo_widens_the_margin(train, pairs, method, rate):
    run = train(
        pairs, objective={"name": "dpo"}, method={"name": method}, train={"learning_rate": rate},
        data={"eval": {"share": 0.2}},
    )  # fmt: skip
    assert run.ended == events.Ended("finished")
    margin = run.values("reward_margin")
    assert margin[0] == pytest.approx(0.0, abs=1e-4)  # the model is its own reference at the start
    assert run.values("loss")[0] == pytest.approx(0.6931, abs=1e-3)
    assert margin[-1] > 0.5
    assert run.values("eval_reward_accuracy")[-1] == 1.0
    saved = {path.name for path in (run.folder / "checkpoints" / "step-000008").iterdir()}
    assert "ref" not in saved  # a reference copy of the adapter is not part of the model


def test_dpo_takes_a_list_of_losses(train, pairs):
    options = {"name": "dpo", "loss": ["apo_zero", "sft"], "loss_weights": [1.0, 0.5]}
    assert train(pairs, objective=options).values("reward_margin")[-1] > 0.3


@pytest.mark.parametrize(("method", "rate"), METHODS)
def test_kto_learns_from_marked_answers_and_from_pairs(train, pairs, method, rate):
    marked = [
        {"prompt": pair["prompt"], "completion": pair[key], "label": key == "chosen"}
        for pair in pairs
        for key in ("chosen", "rejected")
    ]
    rows = marked if method == "lora" else pairs
    run = train(rows, objective={"name": "kto"}, method={"name": method}, train={"learning_rate": rate})
    assert run.values("reward_chosen")[-1] > run.values("reward_rejected")[-1] + 0.3


def test_orpo_learns_without_a_reference(train, pairs):
    run = train(pairs, objective={"name": "orpo", "weight": 1.0}, train={"max_steps": 12})
    assert run.values("nll_loss")[-1] < 0.92 * run.values("nll_loss")[0]
    assert run.values("reward_accuracy")[-1] == 1.0


def test_the_prompt_ends_where_both_answers_begin(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    asked = (Message("user", "Where?"),)
    prompt, answers = answer_ids(asked, ("In the mill.", "In the shop."), tokenizer, "a:1")
    assert prompt == prompt_ids(asked, tokenizer, "a:1")
    assert [tokenizer.decode(ids) for ids in answers] == ["In the mill.<|end|>\n", "In the shop.<|end|>\n"]


def test_a_missing_answer_is_named_by_its_line(train, pairs):
    del pairs[6]["rejected"]
    with pytest.raises(
        BadInput, match=r"^tiny\.jsonl:7: rejected is missing\. 1 of 24 rows \(at 7\)\..* Write"
    ):
        train(pairs, objective={"name": "dpo"})


def test_conversations_are_no_pairs(train):
    with pytest.raises(BadInput, match=r"^tiny\.jsonl:1: no format fits a row with prompt, completion"):
        train([{"prompt": "a", "completion": "b"}], objective={"name": "dpo"})
