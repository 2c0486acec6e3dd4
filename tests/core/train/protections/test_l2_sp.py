"""L2-SP: its gradients compared with autograd of the formula, on whole weights and through LoRA's products."""

import pytest
import torch
from method_bench import Bench, base_of, disturb
from safetensors.torch import load_file

from finetop.core.train.protections import l2_sp


@pytest.fixture(scope="module")
def bench(tiny_model):
    return Bench(base_of(tiny_model))


def test_whole_weights():
    torch.manual_seed(1)
    weights = [torch.randn(5, 4, requires_grad=True), torch.randn(3, requires_grad=True)]
    starts = [torch.randn(5, 4), torch.randn(3)]
    weights[0].grad = torch.ones(5, 4)
    penalty = 0.7 / 2 * sum(((w - s) ** 2).sum() for w, s in zip(weights, starts, strict=True))
    wanted = torch.autograd.grad(penalty, weights)
    value = l2_sp.pull(list(zip(weights, starts, strict=True)), 0.7)
    assert value.item() == pytest.approx(penalty.item(), rel=1e-6)
    assert torch.allclose(weights[0].grad, 1 + wanted[0])
    assert torch.allclose(weights[1].grad, wanted[1])  # it had no gradient before


@pytest.mark.parametrize("name", ["lora", "rslora", "pissa"])
def test_of_lora_it_is_the_distance_of_the_models_own_weights(name, bench):
    model = bench.prepare(name, rank=4)
    moving = [weight for weight in model.parameters() if weight.requires_grad]
    disturb(model, 0.1)
    pairs = list(l2_sp.pairs_of(model))
    assert len(pairs) == 14  # two layers with seven each
    away = sum(((pair.scale * pair.second.weight @ pair.first.weight) ** 2).sum() for pair in pairs)
    wanted = torch.autograd.grad(0.3 / 2 * away, moving)
    value = l2_sp.pull_products(pairs, 0.3)
    assert value.item() == pytest.approx(0.15 * away.item(), rel=1e-4)
    for weight, gradient in zip(moving, wanted, strict=True):
        assert torch.allclose(weight.grad, gradient, rtol=1e-3, atol=1e-5)
    whole = bench.load()
    merged = bench.prepare(name, rank=4)
    merged.load_state_dict(model.state_dict())
    both = zip(merged.merge_and_unload().parameters(), whole.parameters(), strict=True)
    assert sum(((a - b) ** 2).sum().item() for a, b in both) == pytest.approx(away.item(), rel=1e-3)


def test_other_adapters_are_held_by_their_own_weights(bench):
    for name, options in (("dora", {"rank": 4}), ("ia3", {}), ("adalora", {})):
        assert not list(l2_sp.pairs_of(bench.prepare(name, **options)))


def test_in_a_run_weights_stay_nearer_to_where_they_began(train, tiny_model):
    base = load_file(tiny_model / "model.safetensors")
    free, held = train(), train({"l2_sp": 3.0})
    distance = [
        sum(((w - base[name]) ** 2).sum().item() for name, w in run.weights().items()) for run in (free, held)
    ]
    assert distance[1] < 0.9 * distance[0]
    penalty = held.curve("protect_l2")
    assert penalty[1] == 0.0 < penalty[3]
    assert set(held.curve("protect_s")) == {1, 2, 3}
    size = sum(4 * weight.numel() for weight in base.values()) / 1e6
    assert f"protect.l2_sp: 20 weights, {size:.1f} MB of their starting values" in held.log
    assert not free.curve("protect_s")
