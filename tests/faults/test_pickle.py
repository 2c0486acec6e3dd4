"""Fault 25: pickles are never opened, and a model's own code runs only if a recipe allows it."""

import json
import os
import pickle
import re
import shutil
from pathlib import Path

import pytest

from finetop.core.commands.main import main
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models import checkpoint, load, resolve
from finetop.core.models.imports import inspect as adopting
from finetop.core.protocol.messages.submit import Submit
from finetop.core.recipe.schema import Model
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home, prepare
from finetop.core.train.resume import state_files


class Trap:
    """When unpickled, it makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def trap(tmp_path: Path) -> tuple[bytes, Path]:
    sprung = tmp_path / "sprung"
    payload = pickle.dumps(Trap(str(sprung)))
    return payload, sprung


def test_a_pickle_is_never_opened(tmp_path, survived):
    """As weights of a model or an adapter, and as a trainer's state: refused with a message, or never read."""
    payload, sprung = trap(tmp_path)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    (pickled / "pytorch_model.bin").write_bytes(payload)
    with pytest.raises(BadInput, match="can run any code"):
        load.check_folder(pickled, "pickled")
    with pytest.raises(BadInput, match="a pickle, which can run any code"):
        adopting.inspect_folder(pickled)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "x"}')
    (adapter / "adapter_model.bin").write_bytes(payload)
    with pytest.raises(BadInput, match="a pickle, which can run any code"):
        adopting.inspect_folder(adapter)
    state = tmp_path / "checkpoints" / "step-000001" / checkpoint.STATE
    state.mkdir(parents=True)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "tree.json"):
        (state / name).write_bytes(payload)
    with pytest.raises(EnvironmentTrouble, match="can't be read"):
        state_files.load(state)
    assert not sprung.exists()
    pickle.loads(payload)  # the trap works, so nothing above was opened like this
    assert sprung.exists()
    survived("25", "pickles as weights, adapter and state", repeats=3)


CALLS = re.compile(r"(?<![\w.])(?:(?:pickle|joblib)\.load|(?:torch|np|yaml)\.load\(|eval\(|shell=True)")
SOURCES = sorted(Path(__file__).parents[2].glob("core/**/*.py"))


def test_no_module_opens_pickles_or_runs_a_model_s_code_unasked():
    assert len(SOURCES) > 100
    for file in SOURCES:
        text = file.read_text()
        assert "trust_remote_code=True" not in text, file
        code = code_of(text) if CALLS.search(text) else []
        assert not [line for line in code if CALLS.search(line) and "allow_pickle=False" not in line], file


def code_of(text: str):
    return [line.partition("  #")[0] for line in text.splitlines() if not line.lstrip().startswith("#")]


MODEL = """
import os
from transformers import LlamaConfig, LlamaForCausalLM
os.mkdir({sprung!r})
class Config(LlamaConfig):
    model_type = "mine"
class Mine(LlamaForCausalLM):
    config_class = Config
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_s_own_code_runs_only_by_consent(tiny_model, tmp_path, monkeypatch, survived):
    import torch

    home = Home(tmp_path / "home")
    prepare(home)
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, sprung = tmp_path / "mine", tmp_path / "sprung"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Mine"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(MODEL.format(sprung=str(sprung)))
    log = EventLog(tmp_path / "events.jsonl")
    with pytest.raises(BadInput, match="needs to run Python code"):
        load.load_model(resolve.resolve_model(Model(id=str(folder)), home, log), torch.float32, "cpu")
    assert not sprung.exists()
    trusting = Model(id=str(folder), trust_remote_code=True)
    load.load_model(resolve.resolve_model(trusting, home, log), torch.float32, "cpu")
    assert sprung.exists()
    log.close()
    survived("25", "a model with code of its own, without consent")


def test_code_of_a_model_is_off_and_is_shown_where_a_recipe_allows_it(rig, capsys):
    from rig import RECIPE

    from finetop.core.recipe.load import resolve_text

    resolved = resolve_text(RECIPE).resolved
    assert resolved["model"]["trust_remote_code"] is False
    trusting = {**resolved, "model": {**resolved["model"], "trust_remote_code": True}}
    for name, recipe in (("plain", resolved), ("trusting", trusting)):
        rig.ask(Submit({**recipe, "about": '{"steps": 1}'}, RECIPE, name))
        rig.wait_state(name, "finished")
        main(["--home", str(rig.home.root), "show", name])
    shown = capsys.readouterr().out.partition("trusting")
    assert "own Python code is run" not in shown[0]
    assert "own Python code is run" in shown[2]
    record = json.loads((rig.home.runs / "0002-trusting" / "run.json").read_text())
    assert record["recipe"]["model"]["trust_remote_code"] is True
