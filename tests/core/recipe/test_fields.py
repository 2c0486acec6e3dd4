"""The list of settings for a form: complete, with types in words, defaults and help."""

from __future__ import annotations

import re
from functools import reduce

import pytest

from finetop.core.recipe.fields import fields
from finetop.core.recipe.load import resolve_text
from finetop.core.train import methods, objectives

NEEDS = {
    "distill": ", teacher: org/large",
    "pretrain": "",
    "reward": "",
    **dict.fromkeys(("ppo", "rloo", "grpo"), ", reward: {rules: [{rule: json_valid}]}"),
}  # settings that an objective requires
# settings that are written out
WRITTEN = ("train.stop_early.", "approaches.update", "check.target", "check.general", "model.quantize")
WRITTEN += ("objective.teacher", "objective.reward", "command.")
NO_BASE = "check: {general: null}\n"
PAIRS = [(method, "sft") for method in methods.names()] + [("full", name) for name in objectives.names()]


@pytest.mark.parametrize(("method", "objective"), PAIRS)
def test_every_setting_has_help_and_its_default_is_what_a_recipe_gets(method: str, objective: str) -> None:
    text = f"recipe: 1\nname: x\nmethod: {{name: {method}}}\n"
    text += f"objective: {{name: {objective}{NEEDS.get(objective, '')}}}\n"
    text += NO_BASE if objective in ("pretrain", "reward") else ""
    text += "model: {quantize: nf4}\n" if method == "loftq" else ""
    resolved = resolve_text(text).resolved
    for field in fields(method, objective):
        assert field.about, f"{field.key} has no help"
        assert field.type
        if "[]" in field.key or field.required or field.key.startswith(WRITTEN):
            continue
        if field.key != "data.eval":
            value = reduce(lambda section, part: section[part], field.key.split("."), resolved)
            assert value == field.default, field.key


def test_words_choices_and_options_of_the_method() -> None:
    known = {field.key: field for field in fields()}
    assert known["method.rank"].type == "a whole number from 1 to 4096"
    assert known["method.name"].choices == methods.names()
    assert known["train.schedule"].choices == ("constant", "linear", "cosine")
    assert "data.train[].path" in known and known["check.target.path"].required
    of_dpo = {field.key: field for field in fields(objective="dpo")}
    assert of_dpo["objective.loss_weights"].type == "a list of numbers"
    assert "method.rank" not in {field.key for field in fields("full")}


def test_a_limit_is_written_alike_whatever_was_imported_first() -> None:
    """Typing keeps one of `Annotated[float, Meta(gt=0)]` and the same with 0.0, which are equal."""
    assert [field.key for field in fields() if re.search(r"\d\.0\b", field.type)] == []
