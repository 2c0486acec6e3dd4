"""The recipe of an imported run: its base, method, rows and name, or why it can't be imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetop.core.errors import BadInput, RecipeError
from finetop.core.models.imports.recipe import Adopted, ImportRequest, adopted, name_of
from finetop.core.recipe.load import recipe_from_mapping


def change(folder: Path, **values: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def of(folder: Path, **wanted: Any) -> Adopted:
    return adopted(ImportRequest(path=folder.name, cwd=folder.parent, **wanted))


def test_an_adapter_says_its_base_and_its_settings(adapter, tiny_model):
    made = of(adapter)
    recipe = made.recipe.resolved
    assert (recipe["model"]["id"], recipe["model"]["dtype"]) == (str(tiny_model.resolve()), "saved")
    usual = {"dropout": 0.0, "rslora": False, "target_parameters": [], "modules_to_save": []}
    own = {"name": "lora", "rank": 2, "alpha": 4.0, "target_modules": 0}
    assert recipe["method"] | {"target_modules": 0} == usual | own
    assert recipe["objective"] == {"name": "imported"}
    assert recipe["check"]["at_end"] is False
    again = recipe_from_mapping(recipe, to_train=False)
    assert again.objective.name == "imported"
    with pytest.raises(RecipeError, match="there is no objective 'imported'"):
        recipe_from_mapping(recipe)


def test_the_base_that_is_given_wins_and_may_be_a_plain_folders_name(adapter, full):
    change(adapter, base_model_name_or_path="org/name", revision="abc")
    usual = {"trust_remote_code": False, "chat_template": None, "attention": "auto", "engine": "auto"}
    own = {"id": "org/name", "dtype": "saved", "quantize": "none", "revision": "abc"}
    assert of(adapter).recipe.resolved["model"] == usual | own
    given = of(adapter, base="full", quantize="nf4").recipe.resolved["model"]
    assert (given["id"], given["revision"], given["quantize"]) == (str(full), None, "nf4")


def test_methods_that_are_none_of_ours_keep_their_names(adapter):
    def method(**values: Any) -> dict[str, Any]:
        change(adapter, **values)
        return of(adapter).recipe.resolved["method"]

    assert method(peft_type="IA3")["name"] == "ia3"
    assert method(peft_type="LOKR") == {"name": "lokr"}
    assert method(peft_type="LORA", use_dora=True)["rank"] == 2
    assert (
        method(use_dora=False, r=10**6, target_modules="all-linear")["rank"] == 16
    )  # beyond ours: the default


def test_rows_suite_and_check(adapter, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    recipe = of(adapter, data=("rows.jsonl",), general={"suite": "./mine.yaml"}, at_end=True).recipe.resolved
    assert recipe["data"]["train"][0]["path"] == str(tmp_path / "rows.jsonl")
    assert recipe["check"]["general"]["suite"] == str(tmp_path / "mine.yaml")
    assert recipe["check"]["at_end"] is True


@pytest.mark.parametrize(("values", "wanted", "says"), [
    ({"base_model_name_or_path": "/gone/base"}, {}, "was tuned from /gone/base, and that folder is not here"),
    ({"base_model_name_or_path": "a/b/c"}, {}, "was tuned from a/b/c, and that folder is not here"),
    ({"base_model_name_or_path": None}, {}, "names no base model. Add --base"),
    ({}, {"base": "./gone"}, "--base: no folder"),
    ({}, {"base": "adapter"}, "--base: .*adapter holds no config.json"),
    ({}, {"data": ("gone.jsonl",)}, "--data: there is no file .*gone.jsonl"),
    ({}, {"name": "../x"}, "cannot be a name"),
])  # fmt: skip
def test_what_can_not_be_adopted_is_said(adapter, values, wanted, says):
    change(adapter, **values)
    with pytest.raises(BadInput, match=says) as told:
        of(adapter, **wanted)
    assert told.value.hint


def test_a_full_model_needs_a_base(full, tiny_model):
    with pytest.raises(BadInput, match="does not name its base model"):
        of(full)
    assert of(full, base=str(tiny_model)).recipe.resolved["method"] == {"name": "full"}


def test_names(tmp_path):
    assert name_of(tmp_path / "My model (v2)") == "My-model--v2"
    assert name_of(tmp_path / "out" / "checkpoint-500") == "out-checkpoint-500"
    assert name_of(tmp_path / "7") == "model-7"
