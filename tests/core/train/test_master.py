"""Trained weights in full tuning: small steps count, and a check during training sees what a checkpoint contains."""

import msgspec
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM

from finetop.core.errors import BadInput
from finetop.core.recipe.load import resolve_text
from finetop.core.recipe.master import float32_bytes, held_in
from finetop.core.train import master, stochastic_adamw
from finetop.core.train.stochastic_adamw import StochasticAdamW, put_rounded

RECIPE = "recipe: 1\nname: a\nmethod: {name: full}\nobjective: {name: sft}\n"
GB = 1e9


def train_with(**settings):
    return msgspec.structs.replace(resolve_text(RECIPE).recipe.train, **settings)


@pytest.mark.parametrize(("settings", "memory", "held"), [
    ({}, 24 * GB, "float32"),
    ({}, None, "float32"),
    ({}, 20 * GB, "stochastic"),
    ({"optimizer": "adafactor"}, 12 * GB, "float32"),
    ({"optimizer": "adafactor"}, 9 * GB, "nearest"),
    ({"master": "float32"}, 1 * GB, "float32"),
    ({"master": "nearest"}, 24 * GB, "nearest"),
])  # fmt: skip
def test_float32_is_held_where_it_fits(settings, memory, held):
    """For a billion trained numbers."""
    assert held_in(train_with(**settings), 2.0, 1e9, 0.0, memory) == held
    assert float32_bytes(train_with(), 2.0) == 18.0
    assert float32_bytes(train_with(optimizer="adamw-8bit"), 2.0) == 12 + 1 / 32  # the blocks' scales


def test_numbers_rounded_by_chance_are_right_on_average():
    torch.manual_seed(0)
    exact = torch.full((200_000,), 1.0 + 2**-10)  # an eighth of the way to the next bfloat16 number
    held = torch.empty_like(exact, dtype=torch.bfloat16)
    put_rounded(held, exact.clone())
    assert set(held.float().unique().tolist()) == {1.0, 1.0 + 2**-7}
    assert float(held.double().mean()) == pytest.approx(1.0 + 2**-10, abs=3e-5)  # four deviations
    put_rounded(held, torch.ones_like(exact))
    assert torch.equal(held.float(), torch.ones_like(exact))


def test_its_steps_are_those_of_adamw_where_nothing_is_rounded():
    torch.manual_seed(0)
    start = torch.randn(40, 7)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    settings = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-6, "weight_decay": 0.1}
    optimizers = StochasticAdamW([ours], **settings), torch.optim.AdamW([theirs], **settings)
    for _ in range(5):
        gradient = torch.randn_like(start)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


class Widest(TorchDispatchMode):
    """Notes the most numbers that a float32 result has."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype == torch.float32:
            self.numbers = max(self.numbers, result.numel())
        return result


def test_a_step_holds_a_slice_of_a_weight_in_float32_and_each_slice_moves(monkeypatch):
    monkeypatch.setattr(stochastic_adamw, "SLICE", 100)
    start = torch.randn(40, 7).bfloat16()
    weight = torch.nn.Parameter(start.clone())
    weight.grad = torch.ones_like(start)
    with Widest() as widest:
        StochasticAdamW([weight], lr=0.5).step()
    assert widest.numbers == 100
    assert torch.allclose(weight.float(), start.float() - 0.5, atol=0.04)
    across = torch.nn.Parameter(start.clone().t())  # its numbers are not in one row
    across.grad = torch.ones_like(start.t())
    StochasticAdamW([across], lr=0.5).step()
    assert torch.allclose(across.float(), start.float().t() - 0.5, atol=0.04)


def test_at_the_recipe_s_own_rate_weights_move_only_by_chance_or_in_float32():
    """Weights of deviation 0.02, as models begin with; AdamW's first step moves each by the whole rate."""
    torch.manual_seed(0)
    start = (0.02 * torch.randn(200, 500)).bfloat16()
    rate = train_with().learning_rate
    assert rate == 2e-5
    moved, mean = {}, {}
    for name, kind in (("nearest", torch.optim.AdamW), ("stochastic", StochasticAdamW)):
        weight = torch.nn.Parameter(start.clone())
        weight.grad = torch.ones_like(start)
        kind([weight], lr=rate, weight_decay=0.0).step()
        weight = weight.detach()
        moved[name] = float((weight != start).float().mean())
        mean[name] = float((weight.double() - start.double()).mean())
    assert moved["nearest"] < 0.5
    assert mean["stochastic"] == pytest.approx(-rate, rel=0.02)
    assert abs(mean["nearest"] + rate) > 0.05 * rate


def recipe_with(**settings):
    return msgspec.structs.replace(resolve_text(RECIPE).recipe, train=train_with(**settings))


def test_a_check_sees_the_rounded_weights_and_training_gets_its_own_back():
    model = torch.nn.Linear(3, 3).bfloat16()
    assert master.hold(model, recipe_with(master="float32"), "bfloat16", "cpu") == "float32"
    weight = model.weight
    with torch.no_grad():
        weight.add_(1e-4)
    exact = weight.detach().clone()
    assert exact.dtype == torch.float32
    with master.as_saved(model, "bfloat16"):
        assert torch.equal(weight.detach(), exact.bfloat16())
        assert model(torch.ones(1, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert torch.equal(weight.detach(), exact)
    with master.mixed("float32", "bfloat16", "cpu"):
        assert model(torch.ones(1, 3)).dtype == torch.bfloat16


def test_beside_float16_what_moves_is_held_in_float32_whatever_the_memory():
    assert held_in(train_with(), 2.0, 1e9, 0.0, 4e9) == "stochastic"
    assert held_in(train_with(), 2.0, 1e9, 0.0, 4e9, in_float16=True) == "float32"
    model = torch.nn.Linear(3, 3).half()
    assert master.hold(model, recipe_with(), "float16", "cpu") == "float32"
    assert model.weight.dtype == torch.float32


def test_full_tuning_in_float16_that_can_t_fit_is_refused_with_what_would(monkeypatch):
    monkeypatch.setattr(master, "memory_of", lambda *_: 100.0)
    with pytest.raises(BadInput, match=r"in float16, trained weights are kept in float32") as refused:
        master.hold(torch.nn.Linear(3, 3).half(), recipe_with(), "float16", "cuda:0")
    assert refused.value.hint.startswith("Set method.name to lora")


def test_what_moves_beside_an_adapter_is_float32_in_float16_and_rounded_for_a_check(tiny_model):
    """As heads and norms, which PEFT leaves in the base's format: a scaler rejects float16 gradients."""
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float16)
    model = get_peft_model(base, LoraConfig(target_modules=["q_proj"], modules_to_save=["norm"]))
    moving = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert {weight.dtype for weight in moving.values()} == {torch.float16, torch.float32}
    method = resolve_text("recipe: 1\nextends: lora\n").recipe.method
    lora = msgspec.structs.replace(resolve_text(RECIPE).recipe, method=method)
    assert master.hold(model, lora, "float16", "cpu") == "float32"
    assert {weight.dtype for weight in moving.values()} == {torch.float32}
    with master.as_saved(model, "float16"):
        kinds = {name: weight.dtype for name, weight in moving.items()}
        assert {kind for name, kind in kinds.items() if "lora_" in name} == {torch.float32}
        assert {kind for name, kind in kinds.items() if "lora_" not in name} == {torch.float16}
    assert {weight.dtype for weight in moving.values()} == {torch.float32}
    assert master.hold(model, lora, "bfloat16", "cpu") is None


@pytest.mark.parametrize(("settings", "says"), [
    ({"master": "stochastic", "optimizer": "sgd"}, "works only with optimizer adamw, not sgd"),
    ({"master": "stochastic"}, "rounds bfloat16 weights, not float16"),
])  # fmt: skip
def test_what_can_t_be_rounded_by_chance_is_refused(settings, says):
    dtype = "bfloat16" if "optimizer" in settings else "float16"
    with pytest.raises(BadInput, match=says):
        master.hold(torch.nn.Linear(2, 2), recipe_with(**settings), dtype, "cpu")
