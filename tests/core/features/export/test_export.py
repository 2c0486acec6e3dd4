"""An exported model is a whole one that agrees with the checkpoint; if not, that is reported and it is kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from export_bench import recipe_of, wanted_of
from safetensors.torch import load_file, save_file

from finetop.core.check.tasks.suite import general_text
from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError, Refused
from finetop.core.features.export import adapter, agreement, export
from finetop.core.models import checkpoint, merge, resolve, save


@pytest.mark.parametrize(("sections", "dtype"), [
    ({}, "float32"),
    ({"method": {"name": "full"}}, "auto"),
    ({"model": {"dtype": "float32", "quantize": "nf4"}}, "bfloat16"),
], ids=["lora", "full", "lora on nf4"])  # fmt: skip
def test_what_is_written_says_what_the_checkpoint_says(ordered, home, events, capsys, sections, dtype):
    wanted, text = ordered({"dtype": dtype}, **sections)
    agreements = export.export(wanted, text, home, events)
    assert all(one.holds and one.tokens > 100 for one in agreements)
    if dtype != "bfloat16":
        assert agreements[-1].largest < 1e-4
    if "model" not in sections:  # else it was never whole in memory
        assert agreements[1].largest == 0.0
    assert ("warning: the run trained on" in capsys.readouterr().out) == ("model" in sections)
    names = {file.name for file in wanted.to.iterdir()}
    written = {"model.safetensors", "generation_config.json", "finetop.json", "config.json", "tokenizer.json"}
    assert written <= names
    in_config = "chat_template" in (wanted.to / "tokenizer_config.json").read_text()
    assert in_config or "chat_template.jinja" in names
    config = json.loads((wanted.to / "config.json").read_text())
    assert config["dtype"] == ("float32" if dtype == "auto" else dtype)
    assert "quantization_config" not in config
    with pytest.raises(Refused, match="already exists"):
        export.export(wanted, text, home, events)


def test_a_merge_that_loses_the_adapter_is_told_and_kept(tmp_path, ordered, home, events, monkeypatch):
    wanted, text = ordered()
    monkeypatch.setattr(merge, "merged", lambda tuned, folder: tuned.unload())
    with pytest.raises(FinetopError, match="does not give the outputs of tiny@7") as caught:
        export.export(wanted, text, home, events)
    assert caught.value.exit_code == 1
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.unproven" / "model.safetensors").is_file()


def test_a_full_disk_is_told_before_anything_is_loaded(tmp_path, tiny_model, home, events, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(save.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    recipe = recipe_of(tiny_model)
    with pytest.raises(EnvironmentTrouble, match="GiB free, but the model needs"):
        wanted = wanted_of(tmp_path, recipe, tmp_path / "nothing")
        export.export(wanted, general_text(recipe, home), home, events)


def test_numbers_that_are_none_do_not_agree():
    scores = torch.zeros(4)
    assert agreement.compare("x", scores, scores, "float32").holds
    assert not agreement.compare("x", scores, scores.fill_(float("nan")), "float32").holds
    one = agreement.compare("x", torch.zeros(4), torch.tensor([0.0, 0.0, 0.0, 2.0]), "float32", "bfloat16")
    assert (one.mean, one.largest) == (0.5, 2.0)
    assert not replace(one, mean_bound=1.0).holds


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_on_four_bits_each_tensor_is_that_of_the_merge_in_memory(tiny_model, ordered, home, events, method):
    """Written one at a time, and bit-identical: float32 on a CPU."""
    model = {"dtype": "float32", "quantize": "nf4"}
    wanted, text = ordered({"dtype": "float32"}, method={"name": method}, model=model)
    (agreement,) = export.export(wanted, text, home, events)
    assert agreement.holds
    base = resolve.resolve_model(wanted.recipe.model, home, events)
    merged = merge.whole(base, wanted.checkpoint, torch.float32, "cpu").state_dict()
    written = load_file(wanted.to / "model.safetensors")
    assert set(written) <= set(merged)
    assert all(torch.equal(tensor, merged[name]) for name, tensor in written.items())
    untouched = load_file(tiny_model / "model.safetensors")
    assert set(written) == set(untouched)
    assert any(not torch.equal(written[name], untouched[name]) for name in untouched)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("method", ["lora", "prompt-tuning"])
def test_an_adapter_alone_is_loaded_by_peft_as_its_readme_says(ordered, home, events, capsys, method):
    regressed = "tiny@7 is REGRESSED: it lost 4.2 points on quick (`finetop triage` shows what)."
    wanted, general = ordered({"adapter": True, "warning": regressed}, method={"name": method})
    state = wanted.checkpoint / checkpoint.STATE
    state.mkdir()
    (state / "optimizer.pt").write_bytes(b"x")
    (found,) = adapter.export_adapter(wanted, general, home, events)
    assert found.holds and found.largest == 0.0 and found.tokens > 100
    printed = capsys.readouterr().out
    assert "exported tiny@7, the adapter only, in float32" in printed
    says = "for vLLM: vllm serve" if method == "lora" else "vLLM can't load it: it is of the kind"
    assert says in printed
    names = {file.name for file in wanted.to.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md", "tokenizer.json"} <= names
    assert not names & {checkpoint.STATE, checkpoint.MANIFEST, "model.safetensors"}
    facts = json.loads((wanted.to / "finetop.json").read_text())
    assert (facts["run"], facts["warning"]) == ("tiny", regressed)

    readme = (wanted.to / "README.md").read_text()
    assert regressed in readme
    code, said = readme[readme.index("from peft") : readme.rindex("```")], dict[str, Any]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        exec(code.replace("this/folder", str(wanted.to)), said)
    text = agreement.windows(general, said["tokenizer"], None)
    base = resolve.resolve_model(wanted.recipe.model, home, events)
    tuned, _ = merge.load_tuned(base, wanted.checkpoint, torch.float32, "cpu")
    assert torch.equal(agreement.scores(said["model"].float().eval(), text), agreement.scores(tuned, text))


def test_an_adapter_that_is_damaged_on_the_way_is_told(ordered, home, events, monkeypatch):
    copy = shutil.copytree

    def damage(source, target, **options):
        copy(source, target, **options)
        file = target / "adapter_model.safetensors"
        save_file({name: 3 * weight for name, weight in load_file(file).items()}, file)

    wanted, text = ordered({"adapter": True})
    monkeypatch.setattr(adapter.shutil, "copytree", damage)
    with pytest.raises(FinetopError, match="does not give the outputs of tiny@7"):
        adapter.export_adapter(wanted, text, home, events)
    assert not wanted.to.exists()


def test_a_whole_model_has_no_adapter_to_export(ordered, home, events):
    wanted, text = ordered({"adapter": True}, method={"name": "full"})
    with pytest.raises(BadInput, match="is a whole model"):
        adapter.export_adapter(wanted, text, home, events)
