"""LoRA layers that read their input uncast: what is kept, and that nothing computed changes; by method and dropout."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from finetop.core.train import lora_inputs, methods
from finetop.core.train.methods._start import Start

IDS = torch.arange(2 * 64).reshape(2, 64) % 60


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=128, intermediate_size=352, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).bfloat16()


def adapted(base, method, **options):
    """Return the base with an adapter whose paths do something."""
    plugin = methods.load(method)
    examples = [[1, 2, 3, 4]] * 8
    start = Start(examples=examples, general=lambda: [list(range(60))] * 8, pad_token_id=0)
    torch.manual_seed(1)
    model = plugin.prepare(copy.deepcopy(base), plugin.options(**options), start)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=0.05)
    return model.train()


def step(model):
    """Return the bytes that a forward pass keeps, its output, and the gradients."""
    kept, alive, weights = {}, [], {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    torch.manual_seed(2)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        hidden = model.get_base_model().model(input_ids=IDS, use_cache=False).last_hidden_state
    size = sum(kept.values())
    hidden.float().square().mean().backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return size, hidden.detach(), gradients


@pytest.mark.parametrize(
    ("method", "dropout", "less"),
    [
        ("lora", 0.0, 0.10),
        ("rslora", 0.0, 0.10),
        ("lora-plus", 0.0, 0.10),
        ("pissa", 0.0, 0.10),
        ("olora", 0.0, 0.10),
        ("dora", 0.0, 0.0),
        ("adalora", 0.0, 0.10),
        ("lora", 0.05, 0.0),
        ("rslora", 0.05, 0.0),
        ("dora", 0.05, 0.0),
    ],
)
def test_an_uncast_input_is_kept_once_and_nothing_else_changes(base, method, dropout, less):
    options = {"dropout": dropout} if dropout else {}
    before, output, gradients = step(adapted(base, method, **options))
    uncast = adapted(base, method, **options)
    lora_inputs.install(uncast)
    after, same_output, same_gradients = step(uncast)
    print(f"{method} dropout {dropout}: {before / 1024:.0f} KiB, uncast {after / 1024:.0f}")
    assert torch.equal(same_output, output)
    assert gradients.keys() == same_gradients.keys()
    assert all(torch.equal(same_gradients[name], gradient) for name, gradient in gradients.items())
    assert before - after >= less * before
    assert less or after == before


def test_outside_autocast_the_input_is_cast_as_before(base):
    model = adapted(base, "lora").eval()
    with torch.no_grad():
        expected = model(input_ids=IDS).logits
        lora_inputs.install(model)
        assert torch.equal(model(input_ids=IDS).logits, expected)
