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
    # 7 linear layers per block, two blocks, two matrices each; the head is left out
    assert len(trainable(wrapped)) == 7 * 2 * 2
    with torch.no_grad():
        assert torch.equal(wrapped(TOKENS).logits, before)
    weights = dict(wrapped.named_parameters())
    matrix = next(weight for name, weight in weights.items() if name.endswith("q_proj.lora_A.default.weight"))
    assert tuple(matrix.shape) == (4, 16)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    optimizer = torch.optim.SGD([weight for weight in weights.values() if weight.requires_grad], lr=1.0)
    wrapped(TOKENS, labels=TOKENS).loss.backward()
    optimizer.step()
    moved = {name for name, weight in weights.items() if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if "lora_B" in name}


def test_options_reach_the_adapter(model):
    own = {"target_modules": ("q_proj", "v_proj"), "modules_to_save": ("norm",)}
    options = lora.Options(rank=4, alpha=8, rslora=True, dropout=0.25, **own)
    wrapped = lora.PLUGIN.prepare(model, options, Start())
    layer = wrapped.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    assert layer.scaling["default"] == 8 / 4**0.5
    assert layer.lora_dropout["default"].p == 0.25
    assert sum("lora_" in name for name in trainable(wrapped)) == 2 * 2 * 2
    assert any("modules_to_save" in name for name in trainable(wrapped))


def test_an_unknown_module_is_suggested(model):
    says = r"method\.target_modules: .* no module 'q_porj'. Did you mean q_proj\?"
    with pytest.raises(BadInput, match=says):  # test_pairs has the other messages
        lora.PLUGIN.prepare(model, lora.Options(target_modules=("v_proj", "q_porj")), Start())


def test_full_moves_everything(model):
    model.requires_grad_(False)
    assert full.PLUGIN.prepare(model, full.Options(), Start()) is model
    assert trainable(model) == {name for name, _ in model.named_parameters()}
