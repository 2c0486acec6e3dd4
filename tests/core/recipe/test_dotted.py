"""Settings by dotted key: listed with lists of sections in three ways, set in a recipe, found by the nearest key."""

from __future__ import annotations

import pytest

from finetop.core.recipe.dotted import flat_settings, flat_texts, nearest, place_of, with_settings

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
