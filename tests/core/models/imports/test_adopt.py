"""A folder's models become the checkpoints of a run, linked or copied; one that does not fit leaves no events."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import load_file, save_file
from tiny_run import of, read_events

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models.imports.job import adopt
from finetop.core.models.imports.recipe import ImportRequest, adopted
from finetop.core.protocol import events
from finetop.core.recipe.load import recipe_from_mapping, recipe_to_mapping
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home


def told(home: Home, folder: Path, *, copy: bool = False, **wanted: Any) -> list[Any]:
    """Import a folder as run 1; return the events."""
    log = home.root / "events.jsonl"
    recipe = adopted(ImportRequest(path=str(folder), cwd=folder.parent, **wanted)).recipe.recipe
    recipe = recipe_from_mapping(recipe_to_mapping(recipe), to_train=False)
    adopt(recipe, folder, copy=copy, run_folder=run_of(home), home=home, events=event_log.EventLog(log))
    return read_events(home.root)


def run_of(home: Home) -> Path:
    return home.run_folder(1, "out")


def test_a_trainers_output_is_linked_with_its_curves(home, out):
    found = told(home, out)
    saved = of(events.Checkpoint, found)
    places = [(step, f"checkpoints/step-{step:06d}", "adapter") for step in (2, 4)]
    assert [(one.step, one.path, one.kind) for one in saved] == places
    assert (run_of(home) / saved[1].path).readlink() == out / "checkpoint-4"
    assert saved[0].size_bytes > 1000
    losses = {event.step: event.values["loss"] for event in of(events.Metrics, found)}
    assert sorted(losses) == [1, 2, 3, 4]
    (planned,) = of(events.Planned, found)
    assert (planned.steps, planned.trainable_parameters, planned.parameters) == (4, 1280, 98_048 + 1280)
    assert not of(events.Best, found)  # the folder's own model is the newest checkpoint again


def test_the_best_checkpoint_is_known_by_the_folders_own_model(home, out):
    shutil.copyfile(out / "checkpoint-2" / "adapter_model.safetensors", out / "adapter_model.safetensors")
    found = told(home, out)
    assert [one.step for one in of(events.Checkpoint, found)] == [2, 4]
    assert [one.step for one in of(events.Best, found)] == [2]


def test_a_model_that_is_none_of_the_checkpoints_is_what_training_ended_with(home, out):
    file = out / "adapter_model.safetensors"
    save_file({key: value + numpy.float32(0.5) for key, value in load_file(file).items()}, file)
    found = told(home, out)
    assert [one.step for one in of(events.Checkpoint, found)] == [2, 4]
    assert (run_of(home) / "checkpoints" / "step-000004").readlink() == out


def test_a_copy_has_what_is_needed_and_no_pickle(home, out, tiny_model):
    assert (out / "checkpoint-4" / "optimizer.pt").is_file()
    found = told(home, out, copy=True)
    copy = run_of(home) / "checkpoints" / "step-000004"
    names = {file.name for file in copy.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= names
    assert not [name for name in names if name.endswith((".pt", ".pth", ".bin", ".py"))]
    assert of(events.Checkpoint, found)[-1].size_bytes == sum(file.stat().st_size for file in copy.iterdir())
    shutil.rmtree(out)
    assert load_file(copy / "adapter_model.safetensors")


def test_a_single_adapter_and_a_full_model(home, adapter, full, tiny_model):
    (saved,) = of(events.Checkpoint, told(home, adapter))
    assert (saved.step, saved.kind) == (0, "adapter")
    (home.root / "events.jsonl").unlink()
    shutil.rmtree(run_of(home))
    found = told(home, full, base=str(tiny_model))
    assert [one.kind for one in of(events.Checkpoint, found)] == ["full"]
    (planned,) = of(events.Planned, found)
    assert planned.steps == 0  # the number is unknown
    assert planned.parameters == planned.trainable_parameters == 98_048


def test_nothing_is_told_of_what_does_not_fit(home, out, full):
    weights = load_file(full / "model.safetensors")
    kept = {name: value for name, value in weights.items() if ".layers.1." not in name}
    save_file(kept, full / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="is not an adapter for"):
        told(home, out, base=str(full))
    assert {type(event) for event in read_events(home.root)} == {events.Phase}
    assert not run_of(home).exists()


def test_a_base_that_can_not_be_had_says_how_to_name_another(home, out, monkeypatch):
    from finetop.core.data import hub

    monkeypatch.setattr(hub, "ask", lambda *_: EnvironmentTrouble("model.id: org/x is not here.", hint="No."))
    with pytest.raises(EnvironmentTrouble, match=r"the base model: org/x is not here\.") as error:
        told(home, out, base="org/x")
    assert error.value.hint == "No. Or name another: --base ID|FOLDER."


def test_a_second_attempt_finds_what_the_first_has_put_there(home, out):
    told(home, out)
    (home.root / "events.jsonl").unlink()
    assert len(of(events.Checkpoint, told(home, out))) == 2
