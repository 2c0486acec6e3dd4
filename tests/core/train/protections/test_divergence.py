"""The divergence from the base: value and gradient compared with autograd of the plain formula."""

import pytest
import torch

from finetop.core.train.protections import _text


@pytest.mark.parametrize("positions", [1, 127, 128, 300])
def test_value_and_gradient_are_those_of_the_formula(positions):
    torch.manual_seed(1)
    logits = (3 * torch.randn(positions, 50)).requires_grad_()
    base = torch.log_softmax(2 * torch.randn(positions, 50), -1)
    plain = (base.exp() * (base - torch.log_softmax(logits, -1))).sum(-1).mean()
    (wanted,) = torch.autograd.grad(5 * plain, logits)
    ours = _text.divergence(logits, base)
    (found,) = torch.autograd.grad(5 * ours, logits)
    assert ours.item() == pytest.approx(plain.item(), rel=1e-5)
    assert torch.allclose(found, wanted, atol=1e-7)


def test_sixteen_bits_of_the_base_are_made_whole_again():
    torch.manual_seed(1)
    logits = 4 * torch.randn(40, 500)
    rounded = torch.log_softmax(logits, -1).to(torch.float16)
    assert 0 <= _text.divergence(logits, rounded).item() < 1e-5
