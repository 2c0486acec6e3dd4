"""A tuned model is imported only with a base that it fits, judged by names and shapes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from finetop.core.errors import BadInput
from finetop.core.models.imports.compatibility import Base, misfit, require_fit
from finetop.core.models.imports.inspect import inspect_folder
from finetop.core.models.safetensors_header import Shape


def own(folder: Path) -> Any:
    return inspect_folder(folder).own


def test_an_adapter_fits_its_base(adapter: Path, tiny_model: Path) -> None:
    # rank 2; q_proj 64 -> 64, down_proj 128 -> 64, in two layers
    assert require_fit(own(adapter), tiny_model) == 2 * 2 * (64 + 64 + 128 + 64)


def narrow(base: Path, keep: int = 96) -> None:
    """Cut every weight dimension of 128 to `keep`."""
    file = base / "model.safetensors"
    cut = {
        name: value[tuple(slice(0, keep if side == 128 else side) for side in value.shape)].copy()
        for name, value in load_file(file).items()
    }
    save_file(cut, file, metadata={"format": "pt"})


def shorten(base: Path) -> None:
    """Leave the second layer out, which PEFT itself would skip with a warning."""
    file = base / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if ".layers.1." not in name}
    save_file(kept, file, metadata={"format": "pt"})


@pytest.mark.parametrize(("spoil", "says"), [
    (narrow, r"down_proj has 96 inputs, but the adapter's 128"),
    (shorten, r"there is no model.layers.1.mlp.down_proj"),
])  # fmt: skip
def test_a_base_of_other_widths_or_with_fewer_layers_is_refused(adapter, full, spoil, says):
    spoil(full)
    with pytest.raises(BadInput, match=says) as told:
        require_fit(own(adapter), full)
    assert "--base" in told.value.hint


@pytest.mark.parametrize(("changed", "says"), [
    ({"hidden_size": 128}, "has hidden_size 64, but the base .* has 128"),
    ({"num_hidden_layers": 4}, "has num_hidden_layers 2"),
    ({"model_type": "gpt2"}, "has model_type llama"),
    ({"vocab_size": 10**6}, "a vocabulary of .*, but the base .* has 1,000,000"),
])  # fmt: skip
def test_a_full_model_of_another_make_is_refused(full, tiny_model, tmp_path, changed, says):
    base = Path(shutil.copytree(tiny_model, tmp_path / "base"))
    assert require_fit(own(full), base) == 98_048
    config = base / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changed}))
    with pytest.raises(BadInput, match=says):
        require_fit(own(full), base)


LINEAR = Base({"h.0.attn": Shape("F32", (8, 4))}, is_turned=False, is_packed=False, is_renamed=False)
TURNED = Base({"h.0.attn": Shape("F32", (4, 8))}, is_turned=True, is_packed=False, is_renamed=False)


@pytest.mark.parametrize("base", [LINEAR, TURNED])
@pytest.mark.parametrize(("name", "size", "is_wrong"), [
    ("h.0.attn.lora_A.weight", (2, 4), False),
    ("h.0.attn.lora_A.weight", (2, 8), True),
    ("h.0.attn.lora_B.weight", (8, 2), False),
    ("h.0.attn.lora_B.weight", (4, 2), True),
    ("transformer.h.0.attn.lora_A.weight", (2, 4), False),  # saved without its wrapper's name
    ("transformer.h.1.attn.lora_A.weight", (2, 4), True),
    ("h.0.attn.lora_magnitude_vector", (8,), False),
    ("h.0.attn.ia3_l", (8, 1), False),
    ("lm_head.lora_A.weight", (2, 4), False),  # tied to the embedding, without its own weights
])  # fmt: skip
def test_names_and_shapes(base, name, size, is_wrong):
    assert bool(misfit(base, name, Shape("F32", size))) is is_wrong


def test_a_module_that_is_saved_whole_has_the_bases_shape():
    assert not misfit(LINEAR, "h.0.attn.weight", Shape("F32", (8, 4)))
    assert "is 8 x 4, but the adapter's 9 x 4" in misfit(LINEAR, "h.0.attn.weight", Shape("F32", (9, 4)))


def with_tokens(folder: Path, width: int, **values: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({"task_type": "CAUSAL_LM", **values}))
    tokens = {"prompt_embeddings": numpy.zeros((4, width), numpy.float32)}
    save_file(tokens, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def test_learned_tokens_fit_a_base_of_their_width_and_depth(adapter, tiny_model):
    with_tokens(adapter, 64, peft_type="PROMPT_TUNING", num_layers=2)
    assert require_fit(own(adapter), tiny_model) == 4 * 64
    with_tokens(adapter, 96, peft_type="PROMPT_TUNING", num_layers=2)
    with pytest.raises(BadInput, match="its virtual tokens are 96 wide, but the base is 64 wide"):
        require_fit(own(adapter), tiny_model)
    with_tokens(adapter, 128, peft_type="PREFIX_TUNING", num_layers=3)
    with pytest.raises(BadInput, match="it was made for 3 layers, but the base has 2"):
        require_fit(own(adapter), tiny_model)
