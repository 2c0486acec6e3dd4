"""General text for protections: windows of what nobody measures; and the divergence, compared with autograd."""

import pytest
import torch
from transformers import AutoTokenizer

from finetop.core.errors import BadInput
from finetop.core.train.protections import _text


def test_windows_are_of_what_nobody_measures_or_of_a_file(tiny_model, home, recipe_of):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    whole = tokenizer((home.root / "suites" / "general.txt").read_text()).input_ids
    left = (len(whole) - _text.MEASURED) // 32
    found = _text.windows("protect.x", None, 32, 10**6, recipe_of(), tokenizer, home)
    assert [token for window in found for token in window] == whole[_text.MEASURED :][: 32 * left]
    few = _text.windows("protect.x", None, 32, 4, recipe_of(), tokenizer, home)
    assert few == [found[at * left // 4] for at in range(4)]
    file = home.root / "own.txt"
    file.write_text("The shop opens at nine. " * 20)
    (first, *_) = _text.windows("protect.x", str(file), 8, 100, recipe_of(), tokenizer, home)
    assert tokenizer.decode(first).startswith("The shop opens")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match=r"protect\.x\.text: can't read"):
        _text.windows("protect.x", str(file), 8, 100, recipe_of(), tokenizer, home)


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
