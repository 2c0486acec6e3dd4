"""What remedies do to a tiny model's weights: between the base's and its own, to the bit."""

import shutil

import pytest
import torch
from method_bench import Bench, base_of, disturb
from safetensors.torch import load_file, save_file
from tiny_run import recipe_of

from finetop.core.check.tasks.suite import general_text
from finetop.core.errors import FinetopError
from finetop.core.features.export import export
from finetop.core.features.remedies import remedies
from finetop.core.features.remedies.remedies.interpolate import has_scale
from finetop.core.features.remedies.remedies.intruders import without_intruders
from finetop.core.features.remedies.remedies.prune import drawn, largest
from finetop.core.features.remedies.weights import Unchanged, changed
from finetop.core.models import load, merge, resolve
from finetop.core.models.hashes import fingerprint
from finetop.core.models.load_checkpoint import load_checkpoint
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

IDS = torch.arange(6, 30)[None]


def tuned_model(tiny_model, folder, method, **options):
    """Save a checkpoint of a method with disturbed weights; return its folder."""
    model = Bench(base_of(tiny_model)).prepare(method, **options)
    disturb(model)
    model.save_pretrained(folder)
    load.load_tokenizer(base_of(tiny_model)).save_pretrained(folder)
    return folder


def made(name, tiny_model, folder, dtype=torch.float32):
    """Build one candidate of a checkpoint."""
    is_adapter = (folder / "adapter_config.json").is_file()
    candidates = remedies.candidates(remedies.Subject(20, is_adapter, True, True, "none", ()))
    candidate = next(entry for entry in candidates if entry.name == name)
    change = remedies.load(candidate.remedy).change(candidate, base_of(tiny_model), folder)
    model, _ = load_checkpoint(base_of(tiny_model), folder, dtype, "cpu")
    return change.make(model.eval()), change


def said(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits.float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_full_model_is_mixed_tensor_by_tensor_and_rounded_once(tiny_model, tmp_path, dtype):
    folder = tuned_model(tiny_model, tmp_path / "tuned", "full")
    model, change = made("interpolate-0.5", tiny_model, folder, dtype)
    assert change.makes_whole
    before, after = load_file(tiny_model / "model.safetensors"), load_file(folder / "model.safetensors")
    for name, weight in model.named_parameters():
        base, tuned = before[name].to(dtype).float(), after[name].to(dtype).float()
        assert torch.equal(weight, torch.lerp(base, tuned, 0.5).to(dtype)), name
    again, _ = made("interpolate-0.5", tiny_model, folder, dtype)
    weaker, _ = made("interpolate-0.25", tiny_model, folder, dtype)
    assert fingerprint(model) == fingerprint(again) != fingerprint(weaker)


@pytest.mark.parametrize("prefix", ["", "other."])
def test_a_base_that_names_its_weights_otherwise_is_found_or_loaded(
    tiny_model, tmp_path, prefix, monkeypatch
):
    """Without the body's prefix, matched by name; with other names, by loading the whole base."""
    folder = tuned_model(tiny_model, tmp_path / "tuned", "full")
    wanted, _ = made("interpolate-0.5", tiny_model, folder)
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    weights = load_file(base / "model.safetensors")
    renamed = {f"{prefix}{name.removeprefix('model.')}": weight for name, weight in weights.items()}
    save_file(renamed, base / "model.safetensors", {"format": "pt"})
    if prefix:
        whole = load.load_model(base_of(tiny_model), torch.float32, "cpu")
        monkeypatch.setattr(load, "load_model", lambda *_: whole)
    model = wanted if prefix else load_checkpoint(base_of(folder), folder, torch.float32, "cpu")[0]
    new_model = changed(model, base_of(base), lambda name, before, after: before)
    for name, weight in new_model.named_parameters():
        assert torch.equal(weight, weights[name]), name


def test_an_adapter_with_a_scale_keeps_it_apart_from_its_base(tiny_model, tmp_path):
    folder = tuned_model(tiny_model, tmp_path / "lora", "lora", rank=4)
    assert has_scale(folder)
    model, change = made("interpolate-0.5", tiny_model, folder)
    assert not change.makes_whole
    whole = load_checkpoint(base_of(tiny_model), folder, torch.float32, "cpu")[0].merge_and_unload()
    changed(whole, base_of(tiny_model), lambda name, before, after: before.lerp(after, 0.5))
    torch.testing.assert_close(said(model), said(whole), atol=1e-5, rtol=1e-4)
    base = load.load_model(base_of(tiny_model), torch.float32, "cpu")[0].eval()
    with model.disable_adapter():
        assert torch.equal(said(model), said(base))
    half, again = fingerprint(model), fingerprint(made("interpolate-0.5", tiny_model, folder)[0])
    assert half == again != fingerprint(made("interpolate-0.75", tiny_model, folder)[0])


@pytest.mark.parametrize(
    ("method", "options"), [("dora", {}), ("lora", {"modules_to_save": ["norm"]}), ("oft", {})]
)
def test_any_other_adapter_is_merged_first(tiny_model, tmp_path, method, options):
    folder = tuned_model(tiny_model, tmp_path / "adapter", method, **options)
    assert not has_scale(folder)
    model, change = made("interpolate-0.25", tiny_model, folder)
    assert change.makes_whole and not hasattr(model, "peft_config")
    tuned = load_checkpoint(base_of(tiny_model), folder, torch.float32, "cpu")[0].eval()
    base = load.load_model(base_of(tiny_model), torch.float32, "cpu")[0].eval()
    near, far = (said(model) - said(base)).norm(), (said(tuned) - said(base)).norm()
    assert 0 < near < 0.5 * far


def test_intruders_are_found_and_taken_out():
    torch.manual_seed(0)
    before = torch.randn(48, 32) @ torch.diag(torch.linspace(1, 0.1, 32))
    left, right = (side / side.norm() for side in (torch.randn(48), torch.randn(32)))
    after = before + 60 * left[:, None] * right
    new_weights, count = without_intruders(before, after, 10, 0.5, 0.0)
    assert count == 1
    assert (new_weights - before).norm() < 0.5 * before.norm() < (after - before).norm()
    half, _ = without_intruders(before, after, 10, 0.5, 0.5)
    torch.testing.assert_close(half, (new_weights + after) / 2)
    assert without_intruders(before, 1.1 * before, 10, 0.5, 0.0)[1] == 0


def test_a_model_without_intruders_says_so(tiny_model, tmp_path):
    folder = tmp_path / "same"
    shutil.copytree(tiny_model, folder)
    with pytest.raises(Unchanged, match="none of its 0 changed matrices"):
        made("intruders", tiny_model, folder)


def test_embeddings_are_no_matrices_of_a_layer(tiny_model, tmp_path):
    folder = tuned_model(tiny_model, tmp_path / "tuned", "full")
    model, change = made("intruders", tiny_model, folder)
    after = load_file(folder / "model.safetensors")
    assert torch.equal(model.get_input_embeddings().weight, after["model.embed_tokens.weight"])
    moved = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(model.get_parameter(moved), after[moved])
    assert "of 14 changed matrices" in change.report[0]


def test_half_of_the_moves_stay():
    moves = torch.tensor([[1.0, -2.0, 0.0], [3.0, -0.5, 0.1]])
    assert largest(moves, 0.5).tolist() == [[1.0, -2.0, 0.0], [3.0, 0.0, 0.0]]
    assert torch.equal(largest(moves, 1.0), moves)
    many = torch.ones(100, 100)
    kept = drawn(many, 0.5, "a")
    assert set(kept.unique().tolist()) == {0.0, 2.0} and abs(float(kept.mean()) - 1) < 0.05
    assert torch.equal(kept, drawn(many, 0.5, "a"))
    assert not torch.equal(kept, drawn(many, 0.5, "b"))


def test_a_base_of_another_shape_is_told(tiny_model, tmp_path):
    folder = tuned_model(tiny_model, tmp_path / "tuned", "full")
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(3)
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(FinetopError, match=r"model.norm.weight has the shape \[64\], and \[3\] in the base"):
        made("interpolate-0.5", base, folder)


@pytest.mark.parametrize("quantize", ["nf4", pytest.param("int8", marks=pytest.mark.slow)])
def test_a_scaled_adapter_on_a_base_in_fewer_bits_is_written_as_it_was_scored(tiny_model, tmp_path, quantize):
    folder = tuned_model(tiny_model, tmp_path / "lora", "lora", rank=4)
    home = Home(tmp_path / "home")
    home.models.mkdir(parents=True)
    own = {"model": {"quantize": quantize}, "train": {"max_steps": 1}}
    recipe = recipe_of(tiny_model, tmp_path / "rows.jsonl", own)
    candidates = remedies.candidates(remedies.Subject(7, True, True, True, quantize, ()))
    (candidate,) = remedies.chosen(candidates, ["interpolate-0.25"])
    base = resolve.resolve_model(recipe.model, home, EventLog(tmp_path / "events.jsonl"))
    model, _ = load_checkpoint(base, folder, torch.float32, "cpu")
    made_once = remedies.load("interpolate").change(candidate, base, folder).make(model)
    remedied = export.Remedied(candidate, fingerprint(made_once))
    wanted = export.ExportRequest(recipe, "t", 7, folder, tmp_path / "out", "float32", "cpu", remedied)
    log = EventLog(tmp_path / "events.jsonl")
    agreements = export.export(wanted, general_text(wanted.recipe, home), home, log)
    assert all(agreement.holds for agreement in agreements)
    written = load_file(tmp_path / "out" / "model.safetensors")
    plain = merge.load_written_out(base, folder, torch.float32, "cpu").unload()
    whole = merge.merged(merge.load_written_out(base, folder, torch.float32, "cpu"), folder)
    name = "model.layers.0.mlp.up_proj.weight"
    before, after = dict(plain.named_parameters())[name], dict(whole.named_parameters())[name]
    torch.testing.assert_close(written[name], torch.lerp(before, after, 0.25).detach(), atol=1e-6, rtol=1e-5)
