"""The runs of a recipe's comparison: what each approach changes in the recipe, and which ones it does not allow."""

import pytest

from finetop.core.errors import FinetopError
from finetop.core.features.approaches import approaches
from finetop.core.recipe.load import recipe_from_mapping, resolve_text

RECIPE = """recipe: 1
extends: lora
name: kb
data: {train: [{path: rows.jsonl}]}
ask: {system: Be brief., documents: [docs.md], shots: 3, pick: nearest}
train: {learning_rate: 1e-4, seed: 5}
check: {target: {path: test.jsonl, metric: [token_f1, nats_per_token]}}
approaches:
  seeds: 2
  settings: {full: {train.learning_rate: 3e-5}}
  update: {documents: [new.md], train: [{path: news.jsonl}], test: ask.jsonl}
"""


def made(text=RECIPE, sets=(), **asked):
    points, left_out = approaches.planned_runs(resolve_text(text, sets).recipe, **asked)
    return {point.name: point for point in points}, {skipped.approach: skipped.why for skipped in left_out}


def test_each_approach_makes_its_own_of_the_recipe_and_those_that_train_have_seeds():
    points, left_out = made()
    assert not left_out and list(points)[:3] == ["kb-few-shot", "kb-prompt", "kb-retrieval"]
    trained = {name for name in points if name.startswith("kb-lora")}
    assert trained == {"kb-lora-s5", "kb-lora-s6", "kb-lora-update"}
    both = {name for name in points if "retrieval-lora" in name}
    assert both == {"kb-retrieval-lora-s5", "kb-retrieval-lora-s6"}
    prompt, few = points["kb-prompt"].recipe, points["kb-few-shot"].recipe
    assert prompt["method"]["name"] == "none" and prompt["check"]["general"] is None
    assert (prompt["ask"]["shots"], prompt["ask"]["documents"], prompt["data"]["train"]) == (0, [], [])
    assert prompt["ask"]["system"] == "Be brief." and few["ask"]["shots"] == 3 and few["data"]["train"]
    lora = points["kb-lora-s6"].recipe
    assert (lora["train"]["seed"], lora["train"]["learning_rate"]) == (6, 1e-4)
    assert lora["ask"]["shots"] == 0 and lora["ask"]["documents"] == []
    assert points["kb-retrieval-lora-s5"].recipe["ask"]["documents"]
    assert points["kb-qlora-s5"].recipe["model"]["quantize"] == "nf4"
    assert points["kb-full-s5"].recipe["train"]["learning_rate"] == 3e-5
    scratch = points["kb-from-scratch-s5"].recipe
    assert scratch["objective"]["name"] == "pretrain" and scratch["check"]["general"] is None
    news = points["kb-lora-update"]
    assert news.learns_news and len(news.recipe["data"]["train"]) == 2 and not news.recipe["check"]["at_end"]
    asked = [point.recipe["approaches"]["update"]["test"] for point in points.values()]
    assert all(file.endswith("ask.jsonl") for file in asked)


def test_what_a_recipe_does_not_allow_is_left_out_and_says_why():
    points, left_out = made(sets=["ask.documents=[]"])
    assert set(left_out) == {"retrieval", "retrieval-lora"} and "ask.documents" in left_out["retrieval"]
    assert "kb-lora-s5" in points
    _, left_out = made(sets=["data.train=[]"])
    assert {"few-shot", "full", "lora", "qlora", "from-scratch", "retrieval-lora"} == set(left_out)
    points, _ = made(only=["prompt", "lora"], seeds=1)
    assert list(points) == ["kb-prompt", "kb-lora", "kb-lora-update"]


def test_a_full_recipes_rate_is_brought_to_an_adapters():
    points, _ = made(RECIPE.replace("extends: lora", "extends: full"), only=["lora", "full"])
    assert points["kb-lora-s5"].recipe["train"]["learning_rate"] == pytest.approx(1e-3)
    assert points["kb-lora-s5"].recipe["method"]["name"] == "lora"


@pytest.mark.parametrize(("sets", "asked", "said"), [
    (["check.target=null"], {}, "check.target is not set"),
    (["approaches.metric=exact_match"], {}, "approaches.metric: exact_match"),
    ([], {"only": ["lorra"]}, "no approach 'lorra'. Did you mean lora"),
    (["approaches.settings={full: {train.epoch: 1}}"], {"only": ["full"]}, "approach full: .*epoch"),
    (["data.train=[]", "ask.documents=[]"], {"only": ["full", "retrieval"]}, "no approach is available"),
])  # fmt: skip
def test_a_recipe_that_cant_be_compared_says_why(sets, asked, said):
    with pytest.raises(FinetopError, match=said):
        made(sets=sets, **asked)


def test_what_is_made_can_be_read_again_as_a_job_reads_it():
    points, _ = made()
    for point in points.values():
        trains = approaches.load(point.approach).trains
        recipe = recipe_from_mapping(point.recipe, to_train=trains)
        assert recipe.approaches.only == (point.approach,)
