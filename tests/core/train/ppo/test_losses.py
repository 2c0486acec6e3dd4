"""The losses and their gradients, compared with the formulas written out token by token."""

import math

import pytest
import torch

from finetop.core.train.ppo import losses

MASK = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.float64)


def drawn(seed, scale=0.4):
    return scale * torch.randn(2, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_policy_loss_and_its_gradient_are_the_clipped_objective():
    old, advantages = drawn(1), drawn(2, 2.0)
    new = (old + drawn(3)).requires_grad_(True)
    found, clipped = losses.policy_loss(new, old, advantages, MASK, 0.2)
    (gradient,) = torch.autograd.grad(found, new)
    total, count = 0.0, 0
    wanted = torch.zeros_like(new)
    for row in range(2):
        for token in range(5):
            if not MASK[row, token]:
                continue
            ratio = math.exp(float((new - old).detach()[row, token]))
            gain = float(advantages[row, token])
            limited = min(1.2, max(0.8, ratio))
            total -= min(ratio * gain, limited * gain)
            is_clipped = limited * gain < ratio * gain
            count += is_clipped
            wanted[row, token] = 0.0 if is_clipped else -ratio * gain
    assert float(found.detach()) == pytest.approx(total)
    assert float(clipped) == count
    assert 0 < count < 8  # both kinds occurred
    assert torch.allclose(gradient, wanted)


def test_at_the_same_weights_the_gradient_is_the_policy_gradient():
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    logits.requires_grad_(True)
    tokens, gain = torch.arange(10).view(2, 5) % 7, drawn(5, 1.0)
    new = torch.log_softmax(logits, -1).gather(2, tokens.unsqueeze(-1)).squeeze(-1)
    found, clipped = losses.policy_loss(new, new.detach(), gain, MASK, 0.2)
    (gradient,) = torch.autograd.grad(found, logits, retain_graph=True)
    (naive,) = torch.autograd.grad(-(new * gain * MASK).sum(), logits)
    assert torch.allclose(gradient, naive)
    assert float(clipped) == 0


def test_value_loss_takes_the_larger_error_of_a_value_that_moved_too_far():
    old = torch.zeros(1, 4, dtype=torch.float64)
    values = torch.tensor([[0.1, 0.5, 0.5, 9.0]], dtype=torch.float64, requires_grad=True)
    returns = torch.tensor([[1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    found = losses.value_loss(values, old, returns, mask, 0.2)
    assert float(found.detach()) == pytest.approx(0.5 * (0.81 + 0.64 + 0.25))
    (gradient,) = torch.autograd.grad(found, values)
    assert gradient.tolist() == [[pytest.approx(-0.9), 0.0, pytest.approx(0.5), 0.0]]
    free = losses.value_loss(values, old, returns, mask, None)
    assert float(free.detach()) == pytest.approx(0.5 * (0.81 + 0.25 + 0.25))


def test_divergence_is_0_at_the_same_weights_and_never_below():
    old = drawn(6)
    assert losses.divergence(old, old, MASK).tolist() == [0.0, 0.0]
    moved = losses.divergence(old + drawn(7), old, MASK)
    step = drawn(7)[0, :3]
    assert float(moved[0]) == pytest.approx(float((step.exp() - 1 - step).sum()))
    assert (moved > 0).all()
