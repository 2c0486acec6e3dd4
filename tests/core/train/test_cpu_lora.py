"""LoRA in one pass on a CPU gives PEFT's values and gradients; PEFT handles what it does not cover."""

from contextlib import nullcontext

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import nn

from finetop.core.train import cpu_lora


class Layers(nn.Module):
    def __init__(self, *, bias):
        super().__init__()
        self.up, self.down = nn.Linear(24, 40, bias=bias), nn.Linear(40, 24, bias=bias)

    def forward(self, x):
        return self.down(nn.functional.silu(self.up(x)))


def model(*, bias=True, dtype=torch.float32, **options):
    torch.manual_seed(7)
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["up", "down"], **options)
    made = get_peft_model(Layers(bias=bias).to(dtype), config)
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.3)
    return made.train()


def learned(made, *, mixed=False, dtype=torch.float32):
    """Return the output and all gradients of a loss, including the input's."""
    some = torch.Generator().manual_seed(3)
    x = torch.randn(5, 9, 24, generator=some).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
        found = made(x)
    (found.float() * torch.randn(5, 9, 24, generator=some)).sum().backward()
    weights = [weight.grad for _, weight in sorted(made.named_parameters()) if weight.requires_grad]
    return [found.detach(), x.grad, *weights]


def passes(monkeypatch):
    """Count the passes from now on."""
    seen = []
    apply = cpu_lora.OnePass.apply
    monkeypatch.setattr(cpu_lora.OnePass, "apply", lambda *given: seen.append(1) or apply(*given))
    return seen


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("mixed", "dtype"), [(False, torch.float32), (True, torch.float32), (True, torch.bfloat16)]
)
def test_values_and_gradients_are_peft_s(monkeypatch, bias, mixed, dtype):
    seen = passes(monkeypatch)
    wanted = learned(model(bias=bias, dtype=dtype), mixed=mixed, dtype=dtype)
    assert not seen
    ours = model(bias=bias, dtype=dtype)
    cpu_lora.install(ours)
    found = learned(ours, mixed=mixed, dtype=dtype)
    assert len(seen) == 2
    near = 2e-2 if mixed else 1e-5
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        assert (one - other).norm() <= near * other.norm()


def test_what_is_not_learned_from_is_peft_s_to_the_bit(monkeypatch):
    seen = passes(monkeypatch)
    x, plain, ours = torch.randn(3, 24), model(), model()
    cpu_lora.install(ours)
    with torch.no_grad():
        assert torch.equal(plain(x), ours(x))
    assert torch.equal(plain.eval()(x), ours.eval()(x))
    ours.train()
    with plain.disable_adapter(), ours.disable_adapter():
        assert torch.equal(plain(x), ours(x))
    assert not seen


@pytest.mark.parametrize("options", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}])
def test_what_else_a_layer_can_do_goes_peft_s_way(monkeypatch, options):
    seen = passes(monkeypatch)
    plain, ours = model(**options), model(**options)
    cpu_lora.install(ours)
    torch.manual_seed(1)
    wanted = learned(plain)
    torch.manual_seed(1)
    for one, other in zip(learned(ours), wanted, strict=True):
        assert torch.equal(one, other)
    assert not seen


def test_who_waits_for_a_layer_is_called(monkeypatch):
    seen = passes(monkeypatch)
    ours = model()
    cpu_lora.install(ours)
    called = []
    ours.base_model.model.up.base_layer.register_forward_hook(lambda *_: called.append(1))
    learned(ours)
    assert called == [1]
    assert len(seen) == 1  # the other layer


def test_an_adapter_is_saved_and_merged_as_peft_s(tmp_path):
    plain, ours = model(), model()
    cpu_lora.install(ours)
    for name, made in (("plain", plain), ("ours", ours)):
        made.save_pretrained(tmp_path / name)
    saved = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("plain", "ours")]
    assert saved[0].keys() == saved[1].keys()
    x = torch.randn(3, 24)
    assert torch.equal(plain.merge_and_unload()(x), ours.merge_and_unload()(x))


def test_a_frozen_half_gets_no_gradient():
    wanted, ours = model(), model()
    for made in (wanted, ours):
        for name, weight in made.named_parameters():
            weight.requires_grad_("lora_B" in name)
    cpu_lora.install(ours)
    for one, other in zip(learned(ours), learned(wanted), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
