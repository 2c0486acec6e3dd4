"""What becomes of a command's output: the recipe of its run and the import, or the reason for none."""

import json
import os
import time

import pytest
from made_elsewhere import write_adapter, write_base

from finetop.core.external.adoption import adoption
from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.models.imports.inspect import Trained, models_of

NOW = time.time()
TRAINED = Trained(8, 10, 0.0)


def adopted(tmp_path, *sets, trained=TRAINED, **settings):
    request = CommandRequest(("true",), tmp_path, output="out", **settings)
    return adoption(command_recipe(request, sets).resolved, trained)


def test_the_adapter_names_the_base_and_the_method(tmp_path, base):
    write_adapter(tmp_path / "out", base, r=4)
    made = adopted(tmp_path)
    assert made.why_not == ""
    assert made.recipe["model"]["id"] == str(base)
    assert (made.recipe["method"]["name"], made.recipe["method"]["rank"]) == ("lora", 4)
    assert made.recipe["objective"] == {"name": "command"}
    assert made.args["path"] == str(tmp_path / "out")
    assert made.args["trained"] == {"step": 8, "steps": 10, "since": 0.0}
    # the base that was given comes before the adapter's, and keeps its revision
    made = adopted(tmp_path, "model.revision=abc", base="org/name")
    assert (made.recipe["model"]["id"], made.recipe["model"]["revision"]) == ("org/name", "abc")


def test_a_relative_base_is_found_where_the_command_ran(tmp_path, base):
    """model="base" in a script is what PEFT writes into the adapter."""
    write_adapter(tmp_path / "out", "base")
    assert adopted(tmp_path).recipe["model"]["id"] == str(base)
    # --base is the shell's; a name that is no folder there is a model of the hub
    assert adopted(tmp_path, base="base").recipe["model"]["id"] == str(base)
    assert adopted(tmp_path, base="gpt2").recipe["model"]["id"] == "gpt2"


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda out, base: None, "no folder"),
        (lambda out, base: out.mkdir(), "holds neither adapter_config.json nor config.json"),
        (lambda out, base: write_base(out), "does not name its base model. Add --base"),
        (lambda out, base: write_adapter(out, None), "names no base model"),
        (lambda out, base: write_adapter(out, base.parent / "gone"), "that folder is not here"),
        (lambda out, base: out.write_text("a file"), "is a file"),
    ],
)
def test_without_a_usable_model_there_is_a_reason(tmp_path, base, prepare, reason):
    prepare(tmp_path / "out", base)
    made = adopted(tmp_path)
    assert made.why_not.startswith("no model to check: ")
    assert reason in made.why_not


def test_models_of_an_earlier_training_are_left_out_and_lend_no_step(tmp_path, base, monkeypatch):
    out = write_adapter(tmp_path / "out", base)
    later = Trained(8, 10, NOW + 1000)
    assert "has no model that is newer than the start of the run" in adopted(tmp_path, trained=later).why_not
    for step in (5, 900):
        write_adapter(out / f"checkpoint-{step}", base)
    stat = os.stat
    old = str(out / "checkpoint-900")

    def aged(path, **options):
        facts = stat(path, **options)
        if not str(path).startswith(old):
            return facts
        return os.stat_result([*facts[:7], 1000, 1000, 1000])

    monkeypatch.setattr(os, "stat", aged)
    found = models_of(out, Trained(8, 10, NOW - 100))
    assert [model.step for model in found.checkpoints] == [5]
    assert found.own.step == 5


def test_a_model_without_a_step_has_the_last_that_was_reported(tmp_path, base):
    out = write_adapter(tmp_path / "out", base)
    assert models_of(out, TRAINED).own.step == 8
    (out / "trainer_state.json").write_text(json.dumps({"global_step": 7}))
    assert models_of(out, TRAINED).own.step == 7
