"""Settings by dotted key: listed, set, found by the nearest key; and what a change during a run means."""

from __future__ import annotations

import pytest

from finetop.core.errors import BadInput
from finetop.core.recipe.dotted import changes, flat_settings, flat_texts, nearest, place_of, with_settings
from finetop.core.recipe.load import resolve_text

RECIPE = {
    "name": "a",
    "data": {"train": [{"path": "x.jsonl", "limit": None}, {"path": "y.jsonl", "limit": 5}], "eval": []},
    "method": {"target_modules": ["q", "k"], "dropout": 0.1},
    "trainer_args": {},
    "check": {"at_end": True},
}


def test_settings_are_written_by_their_keys_and_lists_stay_whole_or_have_items_named() -> None:
    assert flat_texts(RECIPE) == {
        "name": "a",
        "data.train[0].path": "x.jsonl",
        "data.train[0].limit": "null",
        "data.train[1].path": "y.jsonl",
        "data.train[1].limit": "5",
        "data.eval": "none",
        "method.target_modules": "q, k",
        "method.dropout": "0.1",
        "trainer_args": "none",
        "check.at_end": "true",
    }
    assert dict(flat_settings(RECIPE, of_item=None))["data.train"] == RECIPE["data"]["train"]  # type: ignore[index]
    numbered = dict(flat_settings(RECIPE, of_item=lambda key, at: f"{key}.{at + 1}"))
    assert numbered["data.train.2.limit"] == 5
    changed = with_settings(RECIPE, {"method.dropout": 0.2, "train.seed": 3})
    assert changed["method"] == {"target_modules": ["q", "k"], "dropout": 0.2}
    assert changed["train"] == {"seed": 3}
    assert RECIPE["method"]["dropout"] == 0.1 and "train" not in RECIPE  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("key", "place"), [("model.id", "r.yaml:3"), ("model.dtype", "r.yaml:2"), ("train.seed", "r.yaml")]
)
def test_a_setting_that_nobody_wrote_has_the_place_of_its_section(key: str, place: str) -> None:
    assert place_of(key, {"model": "r.yaml:2", "model.id": "r.yaml:3"}, "r.yaml") == place
    assert nearest({"model": 1}, "model.id") == ("model", 1) and nearest({"model": 1}, "train") is None


TEXT = "recipe: 1\nextends: lora\nname: x\ndata: {train: [{path: a.jsonl}]}\n"


def recipe(*sets):
    return resolve_text(TEXT, sets).resolved


@pytest.mark.parametrize(
    ("setting", "says"),
    {
        "train.epochs=5": "train.epochs: 2 -> 5.0 the learning rate follows the schedule of the new length",
        "train.seed=7": "train.seed: 1 -> 7 changes the data order",
        "train.save_every=0.5": "train.save_every: 0.25 -> 0.5",
        "objective.loss=all": "objective.loss: 'answers' -> 'all' the loss changes from here on",
        "model.trust_remote_code=true": "model.trust_remote_code: false -> true",
        "data.train=[{path: b.jsonl}]": "data.train: a list -> a list changed rows are refused without --anyway",
    }.items(),
)
def test_a_change_is_said_in_words(setting, says):
    (change,) = changes(recipe(), recipe(setting))
    assert str(change).replace("2.0 ->", "2 ->") == says


@pytest.mark.parametrize(
    ("setting", "says"),
    {
        "method.rank=4": "method.rank can't change from 16 to 4: the trained weights are in the checkpoint.",
        "model.quantize=nf4": "model.quantize can't change from 'none' to 'nf4': the run started from it.",
        "train.optimizer=sgd": "train.optimizer can't change from 'adamw' to 'sgd': the checkpoint holds",
        "name=y": "name can't change from 'x' to 'y': a run keeps its name.",
        "objective.name=continued-pretraining": "objective",
    }.items(),
)
def test_what_can_not_change_is_refused(setting, says):
    with pytest.raises(BadInput) as caught:
        changes(recipe(), recipe(setting))
    assert says in str(caught.value)
    assert changes(recipe(), recipe()) == []
