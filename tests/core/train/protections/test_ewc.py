"""EWC: the Fisher information compared with its definition, gradients with autograd."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from finetop.core.train.protections import ewc


def test_the_pull_is_the_formulas_gradient():
    torch.manual_seed(1)
    weight, start = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    importance = torch.rand(5, 4).to(torch.bfloat16)
    penalty = 3.0 / 2 * (importance.float() * (weight - start) ** 2).sum()
    (wanted,) = torch.autograd.grad(penalty, weight)
    assert ewc.pull([(weight, start, importance)], 3.0).item() == pytest.approx(penalty.item(), rel=1e-6)
    assert torch.allclose(weight.grad, wanted, rtol=1e-5)


def test_drawn_labels_estimate_the_fisher_information():
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=6,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    ).train()
    moving = list(model.parameters())
    ids = [1, 4, 2, 5]
    scores = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
    exact = [torch.zeros_like(weight) for weight in moving]
    for at in range(len(ids)):
        for word in range(6):
            found = torch.autograd.grad(scores[at, word], moving, retain_graph=True)
            for total, gradient in zip(exact, found, strict=True):
                total += scores[at, word].exp().detach() * gradient**2 / len(ids)
    state = torch.get_rng_state()
    estimate = ewc.fisher(model, moving, [ids] * 80, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and all(weight.grad is None for weight in moving)
    for guess, truth in zip(estimate, exact, strict=True):
        assert guess.dtype == torch.bfloat16
        assert guess.float().sum().item() == pytest.approx(truth.sum().item(), rel=0.35)
    whole = torch.cat([guess.float().flatten() for guess in estimate])
    truth = torch.cat([one.flatten() for one in exact])
    assert torch.corrcoef(torch.stack([whole, truth]))[0, 1] > 0.9
    again = (ewc.fisher(model, moving, [ids], 1) for _ in range(2))
    assert all(map(torch.equal, *again))


def test_in_a_run(train):
    run = train({"ewc": {"weight": 1000.0, "windows": 3, "tokens": 64}})
    penalty = run.curve("protect_ewc")
    assert penalty[1] == 0.0 < penalty[3]
    assert "protect.ewc: Fisher information of 3 windows of 64 tokens" in run.log
