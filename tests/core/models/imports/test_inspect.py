"""A folder's contents are determined from its JSON alone, and what can't be checked is refused in one line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models.imports.inspect import (
    FolderModel,
    Trained,
    inspect_folder,
    models_of,
    read_adapter,
)
from finetop.core.models.imports.recipe import name_of
from finetop.core.runtime import parts

LLAMA_CPP = pytest.mark.skipif(
    find_spec("llama_cpp_py_sync") is None, reason="llama.cpp is not installed: finetop[gguf]"
)
CONFIG = "adapter_config.json"


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_an_adapter_alone_is_of_step_nought(adapter: Path) -> None:
    found = inspect_folder(adapter)
    assert (found.own, found.checkpoints, found.state) == (FolderModel(0, adapter, "adapter"), (), None)
    said = read_adapter(adapter)
    assert (said.peft_type, said.method, said.settings["r"]) == ("LORA", "lora", 2)
    change(adapter / CONFIG, use_dora=True)
    assert read_adapter(adapter).method == "dora"


def test_a_full_model(full: Path) -> None:
    assert inspect_folder(full).own == FolderModel(0, full, "full")
    (full / "trainer_state.json").write_text(json.dumps({"global_step": 700, "log_history": []}))
    assert inspect_folder(full).steps == [700]


@LLAMA_CPP
def test_a_gguf_file_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    file = tmp_path / "tuned.gguf"
    file.write_bytes(b"GGUF....")
    assert inspect_folder(file).own == FolderModel(0, file, "gguf")
    file.write_bytes(b"GGML....")
    with pytest.raises(BadInput, match=r"tuned\.gguf is no GGUF file"):
        inspect_folder(file)


def test_a_trainers_output_has_its_checkpoints_in_order_of_steps(out: Path) -> None:
    (out / "checkpoint-4").rename(out / "checkpoint-10")
    (out / "checkpoint-99").mkdir()  # without a model: interrupted, or cleaned up
    found = inspect_folder(out)
    assert [(one.step, one.kind) for one in found.checkpoints] == [(2, "adapter"), (10, "adapter")]
    assert found.own == FolderModel(10, out, "adapter")
    assert found.state == out / "trainer_state.json"
    assert found.steps == [2, 10]


def test_one_checkpoint_of_a_trainer_knows_its_step(out: Path) -> None:
    folder = out / "checkpoint-2"
    assert inspect_folder(folder).own == FolderModel(2, folder, "adapter")
    (folder / "trainer_state.json").unlink()
    assert inspect_folder(folder).own == FolderModel(2, folder, "adapter")


def pickled_adapter(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(("spoil", "says"), [
    (pickled_adapter, r"has its weights as adapter_model.bin: a pickle.* call save_pretrained"),
    (lambda folder: (folder / "adapter_model.safetensors").unlink(),
     r"has no adapter_model.safetensors beside its adapter_config.json"),
    (lambda folder: (folder / CONFIG).unlink(),
     r"holds neither adapter_config.json nor config.json, nor folders checkpoint-"),
    (lambda folder: (folder / CONFIG).write_text("{"), r"adapter_config.json can't be read"),
    (lambda folder: change(folder / CONFIG, task_type="SEQ_CLS"),
     r"task_type is 'SEQ_CLS'. Only causal language models"),
    (lambda folder: change(folder / CONFIG, peft_type="CPT"), r"'CPT' needs more input than text"),
    (lambda folder: change(folder / CONFIG, peft_type=None), r"peft_type is null"),
])  # fmt: skip
def test_what_can_not_be_checked_is_refused(adapter: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(adapter)
    with pytest.raises(BadInput, match=says) as told:
        inspect_folder(adapter)
        read_adapter(adapter)
    assert "\n" not in str(told.value)


def test_a_pickled_full_model_or_checkpoint_is_refused_too(full: Path, out: Path) -> None:
    (full / "model.safetensors").rename(full / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"has its weights as pytorch_model\.bin"):
        inspect_folder(full)
    pickled_adapter(out / "checkpoint-2")
    with pytest.raises(BadInput, match=r"checkpoint-2 has its weights as adapter_model\.bin"):
        inspect_folder(out)


def test_a_folder_with_one_gguf_file_is_that_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "find_spec", lambda package: None)
    (tmp_path / "model.Q4_K_M.gguf").write_bytes(b"GGUF")
    with pytest.raises(EnvironmentTrouble) as missing:
        inspect_folder(tmp_path)
    assert (
        str(missing.value)
        == "running or writing a GGUF file needs finetop[gguf]: pip install 'finetop[gguf]'"
    )
    monkeypatch.undo()
    monkeypatch.setattr(parts, "require", lambda package: None)
    found = models_of(tmp_path, Trained(30, 30, 0.0))
    assert found.own == FolderModel(30, tmp_path / "model.Q4_K_M.gguf", "gguf")
    with pytest.raises(BadInput, match="no model that is newer than the start"):
        models_of(tmp_path, Trained(30, 30, time.time() + 60))
    (tmp_path / "model.Q8_0.gguf").write_bytes(b"GGUF")
    with pytest.raises(
        BadInput, match=r"holds 2 GGUF models: model\.Q4_K_M\.gguf, model\.Q8_0\.gguf\. Check one: finetop"
    ):
        inspect_folder(tmp_path)


def test_a_gguf_file_in_parts_is_one_model_and_all_its_parts_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "require", lambda package: None)
    names = [f"tuned-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for name in names:
        (tmp_path / name).write_bytes(b"GGUF")
    model = FolderModel(0, tmp_path / names[0], "gguf")
    for place in (tmp_path, tmp_path / names[0], tmp_path / names[1]):
        assert inspect_folder(place).own == model
    assert name_of(tmp_path / names[0]) == "tuned"
    (tmp_path / names[1]).write_bytes(b"GGML")
    with pytest.raises(BadInput, match=r"tuned-00002-of-00003\.gguf is no GGUF file"):
        inspect_folder(tmp_path)
    for missing in (names[1], names[0]):
        (tmp_path / missing).unlink()
        with pytest.raises(
            BadInput, match=rf"of 3 parts of a model, of which these are missing: .*{missing}"
        ):
            inspect_folder(tmp_path)


def test_no_folder_and_a_file(adapter: Path) -> None:
    with pytest.raises(BadInput, match=r"no folder .*adaptr\. Did you mean adapter\?"):
        inspect_folder(adapter.with_name("adaptr"))
    with pytest.raises(BadInput, match="is a file") as told:
        inspect_folder(adapter / "adapter_model.safetensors")
    assert told.value.hint == f"Give its folder: {adapter}."
