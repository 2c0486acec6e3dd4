"""A setting by another name: the intended one is suggested, by --set and in a file, and exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetop.core.errors import folded_name
from finetop.core.recipe.fields import fields
from finetop.core.recipe.load import find_problems
from finetop.core.recipe.validate import OTHER_NAMES

ROWS = "recipe: 1\nname: x\ndata: {train: [{path: /rows.jsonl}]}\n"


def hint_of(key: str, value: str = "1") -> str:
    problems = find_problems(ROWS, [f"{key}={value}"], Path("/nowhere"))
    (hint,) = (error.hint for error in problems if error.key == key)
    return hint


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lr", "train.learning_rate"), ("train.lr", "learning_rate"), ("method.lr", "train.learning_rate"),
        ("learningrate", "train.learning_rate"), ("train.Learning-Rate", "learning_rate"),
        ("bs", "train.batch_size"), ("batch", "train.batch_size"), ("train.batch", "batch_size"),
        ("epochs", "train.epochs"), ("num_train_epochs", "train.epochs"), ("steps", "train.max_steps"),
        ("rank", "method.rank"), ("r", "method.rank"), ("method.r", "rank"), ("method.lora_r", "rank"),
        ("train.rank", "method.rank"), ("alpha", "method.alpha"), ("dropout", "method.dropout"),
        ("model_name_or_path", "model.id"), ("base_model", "model.id"), ("dataset", "data.train"),
        ("seq_len", "data.max_tokens"), ("max_length", "data.max_tokens"), ("data.max_length", "max_tokens"),
        ("wd", "train.weight_decay"), ("train.decay", "weight_decay"), ("warmup", "train.warmup_steps"),
        ("seed", "train.seed"), ("suite", "check.general.suite"),
    ],
)  # fmt: skip
def test_what_other_programs_call_a_setting_leads_to_it(typed: str, meant: str) -> None:
    assert hint_of(typed) == f"Did you mean {meant}?"


@pytest.mark.parametrize(("key", "meant"), [("model", "model.id"), ("data", "data.train")])
def test_a_text_in_place_of_a_section_leads_to_its_main_setting(key: str, meant: str) -> None:
    assert hint_of(key, "gpt2") == f"Did you mean {meant}?"


@pytest.mark.parametrize(
    ("typed", "command"), [("train.zzz", "`finetop recipe train`"), ("zzz", "`finetop recipe`")]
)
def test_what_is_near_to_nothing_gets_a_short_list_and_the_command_for_all(typed: str, command: str) -> None:
    hint = hint_of(typed)
    assert hint.startswith("Options: a") and hint.endswith(f"more, see {command}.")
    assert hint.count(",") == 8


def test_each_name_leads_to_a_setting_that_is_there() -> None:
    keys = {field.key for field in fields()}
    sections = {key[:at] for key in keys for at, letter in enumerate(key) if letter == "."}
    assert not OTHER_NAMES.keys() - keys - sections
    names = [folded_name(name) for others in OTHER_NAMES.values() for name in others.split()]
    names += [folded_name(key.rpartition(".")[2]) for key in OTHER_NAMES]
    assert len(names) == len(set(names))
