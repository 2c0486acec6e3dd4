"""Where a recipe's base lies on this machine, so that a verdict speaks of no other base than it was made with."""

import json
import os

import pytest

from finetop.core.check.checked_weights import base_folder, weights_now
from finetop.core.data import hub
from finetop.core.data.weight_files import model_hash
from finetop.core.runtime.home import Home

COMMIT = "a" * 40


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def write_model(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"w")
    return folder


def in_hub_cache(home, monkeypatch):
    cache = home.root.parent / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    (cache / "models--org--name/refs").mkdir(parents=True)
    (cache / "models--org--name/refs/main").write_text(COMMIT)
    return write_model(cache / f"models--org--name/snapshots/{COMMIT}"), "org/name"


def of_a_run(home, monkeypatch):
    return write_model(home.runs / "0007-parent/checkpoints/step-000020"), "run:7@20"


def of_an_adapters_run(home, monkeypatch):
    folder = write_model(home.runs / "0007-parent/checkpoints/step-000020")
    (folder / "adapter_config.json").write_text("{}")
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    merged = write_model(home.models / "merged/key")
    (merged / "finetop.json").write_text(json.dumps({"adapter_hash": model_hash(folder, home)}))
    return folder, "run:7@20"


def the_demo_model(home, monkeypatch):
    return write_model(home.models / hub.ALIAS), hub.ALIAS


def a_folder(home, monkeypatch):
    folder = write_model(home.root.parent / "base")
    return folder, str(folder)


@pytest.mark.parametrize("kind", [in_hub_cache, of_a_run, of_an_adapters_run, the_demo_model, a_folder])
def test_a_verdict_is_of_the_base_that_it_was_made_with(home, monkeypatch, kind):
    folder, name = kind(home, monkeypatch)
    (file,) = folder.glob("*.safetensors")
    if kind in (of_a_run, of_an_adapters_run):
        (folder / "manifest.json").write_text(json.dumps({"files": {file.name: 1}}))
    recipe = {"model": {"id": name, "revision": None}}
    assert base_folder(recipe, home) == folder
    read = home.models / "merged/key" if kind is of_an_adapters_run else folder
    result = {"step": 1, "models": {"base": {"weights": model_hash(read, home)}}}

    def now():
        return weights_now(result, None, recipe, home, hashes=True)

    assert now() == "same"
    file.write_bytes(b"x")
    assert now() == "changed"
    file.unlink()
    folder.rename(folder.with_name("elsewhere"))
    assert now() == "same", "what is gone has not changed"


def test_the_hub_s_cache_is_read_as_its_own_package_reads_it(home, monkeypatch):
    from huggingface_hub import constants

    folder, name = in_hub_cache(home, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", os.environ["HF_HUB_CACHE"])
    for revision in (None, COMMIT, "b" * 40):
        assert hub.snapshot_of(name, revision) == hub.cached(name, revision)
    assert hub.snapshot_of(name, COMMIT) == folder and hub.snapshot_of("", None) is None
