"""LoRA and full tuning on a tiny model: which weights are trained, and that a fresh adapter changes nothing."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from finetop.core.errors import BadInput
from finetop.core.train.methods import full, lora
from finetop.core.train.methods._start import Start

TOKENS = torch.tensor([[1, 2, 3, 4]])


@pytest.fixture
def model():
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(shape).eval()


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_only_the_adapter_moves_and_at_first_it_changes_nothing(model):
    with torch.no_grad():
        before = model(TOKENS).logits
    wrapped = lora.PLUGIN.prepare(model, lora.Options(rank=4, alpha=8), Start())
    names = trainable(wrapped)
    # 7 linear layers per block, two blocks, two matrices each; the head is left out
    assert len(names) == 7 * 2 * 2
    assert all("lora_" in name for name in names)
    with torch.no_grad():
        assert torch.equal(wrapped(TOKENS).logits, before)
    matrix = next(p for n, p in wrapped.named_parameters() if n.endswith("q_proj.lora_A.default.weight"))
    assert tuple(matrix.shape) == (4, 16)


def test_a_step_moves_the_adapter_and_not_the_base(model):
    options = lora.Options(rank=2, alpha=4, target_modules=("q_proj", "v_proj"))
    wrapped = lora.PLUGIN.prepare(model, options, Start())
    assert len(trainable(wrapped)) == 2 * 2 * 2
    before = {name: parameter.detach().clone() for name, parameter in wrapped.named_parameters()}
    optimizer = torch.optim.SGD([p for p in wrapped.parameters() if p.requires_grad], lr=1.0)
    wrapped(TOKENS, labels=TOKENS).loss.backward()
    optimizer.step()
    moved = {name for name, weight in wrapped.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if "lora_B" in name}


def test_options_reach_the_adapter(model):
    options = lora.Options(rank=4, alpha=8, rslora=True, dropout=0.25, modules_to_save=("norm",))
    wrapped = lora.PLUGIN.prepare(model, options, Start())
    layer = wrapped.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    assert layer.scaling["default"] == 8 / 4**0.5
    assert layer.lora_dropout["default"].p == 0.25
    assert any("modules_to_save" in name for name in trainable(wrapped))


def test_an_unknown_module_is_suggested(model):
    for key, given, meant in (
        ("target_modules", ("v_proj", "q_porj"), "q_proj"),
        ("modules_to_save", ("lm_haed",), "lm_head"),
    ):
        says = rf"method\.{key}: .* no module '{given[-1]}'. Did you mean {meant}\?"
        with pytest.raises(BadInput, match=says):
            lora.PLUGIN.prepare(model, lora.Options(**{key: given}), Start())


def test_full_moves_everything(model):
    model.requires_grad_(False)
    prepared = full.PLUGIN.prepare(model, full.Options(), Start())
    assert prepared is model
    assert trainable(model) == {name for name, _ in model.named_parameters()}
