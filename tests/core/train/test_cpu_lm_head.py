"""The head on a CPU gives TRL's values and gradients, and TRL still has the parts that it replaces."""

import pytest
import torch
from transformers import AutoModelForCausalLM
from trl.kernels import ChunkedLogProbFunction
from trl.trainer import utils

from finetop.core.train import cpu_lm_head

ALL = ("log_probs", "entropy", "mean_logits", "is_top1")


@pytest.fixture
def installed():
    before = utils._use_triton, utils._ChunkedLogProbFunction
    cpu_lm_head.install()
    yield
    utils._use_triton, utils._ChunkedLogProbFunction = before


def scored(function, *, dtype=torch.float32, temperature=1.0, scale=1.0, bias=True, learns_entropy=False):
    """Score 600 positions of 500 words; return the outputs and the gradient of a loss of them."""
    some = torch.Generator().manual_seed(3)
    hidden = torch.randn(600, 32, generator=some).to(dtype).requires_grad_()
    weight = torch.randn(500, 32, generator=some).to(dtype)
    added = torch.randn(500, generator=some).to(dtype) if bias else None
    targets = torch.randint(0, 500, (600,), generator=some)
    found = function.apply(hidden, weight, added, targets, temperature, 128, None, scale, ALL)
    weights = torch.randn(600, generator=some)
    loss = -(found[0] * weights).sum() + (found[1].sum() if learns_entropy else 0.0)
    loss.backward()
    return found, hidden.grad


@pytest.mark.parametrize(
    "case", [{}, {"temperature": 0.7, "scale": 2.0}, {"bias": False}, {"learns_entropy": True}]
)
def test_it_says_what_trl_says(case):
    theirs, slope = scored(ChunkedLogProbFunction, **case)
    ours, own_slope = scored(cpu_lm_head.Choice(ChunkedLogProbFunction), **case)
    for name, one, other in zip(("log_probs", "entropy", "", "mean_logits"), ours, theirs, strict=False):
        if name:
            torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-5, msg=name)
    assert torch.equal(ours[4], theirs[4])
    torch.testing.assert_close(own_slope, slope, atol=2e-5, rtol=1e-4)


def test_rounding_to_16_bits_moves_the_gradient_no_more_than_theirs():
    exact = scored(ChunkedLogProbFunction)[1]
    theirs = scored(ChunkedLogProbFunction, dtype=torch.bfloat16)[1].float()
    ours = scored(cpu_lm_head.Choice(ChunkedLogProbFunction), dtype=torch.bfloat16)[1].float()
    assert (ours - exact).norm() <= 1.1 * (theirs - exact).norm()


def test_a_head_that_is_trained_goes_the_other_way():
    some = torch.Generator().manual_seed(1)
    hidden = torch.randn(9, 8, generator=some, requires_grad=True)
    weight = torch.randn(40, 8, generator=some, requires_grad=True)
    targets = torch.randint(0, 40, (9,), generator=some)
    choice = cpu_lm_head.Choice(ChunkedLogProbFunction)
    found = choice.apply(hidden, weight, None, targets, 1.0, 16, None, 1.0, ALL)
    found[0].sum().backward()
    probabilities = torch.softmax(hidden @ weight.t(), -1)
    wanted = torch.nn.functional.one_hot(targets, 40) - probabilities
    torch.testing.assert_close(weight.grad, wanted.t() @ hidden, atol=1e-4, rtol=1e-4)


def test_trl_has_the_parts_that_it_stands_for(installed, tiny_model):
    """A whole model through TRL's head, with padding and a prompt without labels: the loss is the cross-entropy."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.randint(6, 200, (2, 12), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[0, :5] = labels[1, 9:] = -100
    plain = model(input_ids=ids, labels=labels).loss
    model.lm_head.weight.requires_grad_(False)
    seen = []
    apply = cpu_lm_head.OnePass.apply
    utils.add_fused_lm_head(model, outputs=ALL)
    cpu_lm_head.OnePass.apply = lambda *given: seen.append(len(given[0])) or apply(*given)
    try:
        found = model(input_ids=ids, labels=labels, fused_lm_head=True)
    finally:
        del cpu_lm_head.OnePass.apply
    torch.testing.assert_close(found.loss, plain)
    assert seen == [int((labels[:, 1:] != -100).sum())]
