"""An export as GGUF: files that llama.cpp runs, measured against the checkpoint; else it is told and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec

import pytest
from export_bench import recipe_of, wanted_of

from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError, Refused
from finetop.core.features.export import gguf, gguf_log
from finetop.core.features.export.gguf_writer import convert, families
from finetop.core.models import load, resolve, save
from finetop.core.models.llama_cpp.model import open_model
from finetop.core.models.llama_cpp.quants import ALL, quants_of

needs_llama_cpp = pytest.mark.skipif(
    find_spec("llama_cpp_py_sync") is None, reason="llama.cpp is not installed: finetop[gguf]"
)


@pytest.fixture
def short(monkeypatch):
    """Prove with less text, and a question less than twelve."""
    monkeypatch.setattr(convert.reference, "WINDOWS", 1)
    monkeypatch.setattr(convert.reference.material, "PROMPTS", ("What is 17 + 25?", "Who wrote Hamlet?"))


@needs_llama_cpp
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_say_what_the_checkpoint_says(tmp_path, ordered, home, events, capsys, short):
    wanted, text = ordered({"quants": ("f16", "q8_0"), "run_name": "my-phi3"})
    converted = gguf.export_gguf(wanted, text, home, events)
    names = {file.name for file in wanted.to.iterdir()}
    models = {"my-phi3-7-f16.gguf", "my-phi3-7-q8_0.gguf"}
    assert names == {*models, "Modelfile.f16", "Modelfile.q8_0", "finetop.json"}
    assert {file.name for file in tmp_path.iterdir()} == {"run", "out", "home", "events.jsonl"}
    proven = converted.proven
    assert proven.largest < 1e-4 and proven.tokens > 100 and proven.answers_differ == 0
    half, eighth = converted.files
    assert half.measured.kl < 1e-4 and half.bytes > eighth.bytes
    facts = json.loads((wanted.to / "finetop.json").read_text())
    assert (facts["run"], facts["files"][1]["quant"], facts["proof"]["faults"]) == ("my-phi3", "q8_0", [])
    printed = capsys.readouterr().out
    assert f"exported my-phi3@7 as GGUF: {wanted.to}" in printed and "texts get the same tokens" in printed
    assert gguf_log.facts_in(printed)["files"][0]["bytes"] == half.bytes
    made = (wanted.to / "Modelfile.q8_0").read_text()
    assert made.startswith("FROM ./my-phi3-7-q8_0.gguf\n") and 'PARAMETER stop "<|end|>"' in made
    with open_model(wanted.to / half.name, 0) as model:
        assert model.facts.name == "my-phi 3-7"  # else its special tokens would eat white space
    with pytest.raises(Refused, match="already exists"):
        gguf.export_gguf(wanted, text, home, events)


@needs_llama_cpp
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_wrong_file_is_told_and_kept(tmp_path, ordered, home, events, monkeypatch, short):
    monkeypatch.setattr(families, "paired", lambda tensor, heads: tensor)
    wanted, text = ordered({"quants": ("q8_0",)})
    says = r"does not say what tiny@7 says: .* nats from the model's"
    with pytest.raises(FinetopError, match=says) as caught:
        gguf.export_gguf(wanted, text, home, events)
    assert caught.value.exit_code == 1
    assert not wanted.to.exists()
    kept = {file.name for file in (tmp_path / "out.unproven").iterdir()}
    assert kept == {"tiny-7-f32.gguf", "finetop.json"}


def test_what_can_not_be_written_is_told_before_anything_is_loaded(
    tmp_path, tiny_model, home, events, monkeypatch
):
    monkeypatch.setattr(gguf.llama_cpp, "require", lambda: None)
    monkeypatch.setattr(load, "load_model", None)
    recipe = recipe_of(tiny_model)
    wanted = replace(wanted_of(tmp_path, recipe, tiny_model), quants=("q8_0",))
    base = resolve.resolve_model(recipe.model, home, events)
    config = load.read_config(base)
    config.architectures = ["MixtralForCausalLM"]
    monkeypatch.setattr(load, "read_config", lambda base: config)
    with pytest.raises(BadInput, match="MixtralForCausalLM is none of gemma2") as caught:
        gguf.export_gguf(wanted, "text", home, events)
    assert "safetensors" in caught.value.hint
    config.architectures = ["LlamaForCausalLM"]
    usage = save.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(save.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(EnvironmentTrouble, match="GiB free, but the model needs"):
        gguf.export_gguf(wanted, "text", home, events)


def test_formats_are_read_and_named():
    assert quants_of("Q8_0, q4_k_m,q8_0") == ["q8_0", "q4_k_m"]
    assert quants_of("all") == list(ALL)
    for text, hint in (("q4_k_n", "q4_k_m"), ("zzz", "Options: all, bf16")):
        with pytest.raises(BadInput, match="is not a number format") as caught:
            quants_of(text)
        assert hint in caught.value.hint


def test_a_mix_is_named_for_what_it_is():
    def file(quant, **formats):
        return convert.File("x", quant, 1, formats, None, None)

    assert file("q4_k_m", f32=61, q4_k=10, q6_k=40, q5_0=160).mix == "mostly q5_0"
    assert file("q4_k_m", f32=61, q4_k=193, q6_k=29).mix == ""
    assert file("q8_0", q8_0=3).mix == file("f16", f16=3).mix == ""


def test_a_log_that_is_cut_is_told():
    assert gguf_log.facts_in("exported x\n") == {}
    with pytest.raises(FinetopError, match="does not say what was written"):
        gguf_log.facts_in(gguf_log.BEGINS + '{"files": [')
