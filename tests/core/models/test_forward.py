"""The logits after a batch's last tokens cost no copy of the output weights for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM

from finetop.core.models.forward import read_on

if TYPE_CHECKING:
    from pathlib import Path

ROWS, TOKENS = 16, 5


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor has that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numbers = max(self.numbers, made.numel())
        return made


@pytest.mark.parametrize("is_frozen", [False, True])
def test_no_tensor_is_as_large_as_the_output_weights_of_each_row(tiny_model: Path, is_frozen: bool) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval().requires_grad_(not is_frozen)
    ids = torch.arange(ROWS * TOKENS).view(ROWS, TOKENS) % 100 + 10
    positions = torch.arange(TOKENS).expand(ROWS, TOKENS)
    mask = torch.ones_like(ids)
    with torch.inference_mode(), Largest() as largest:
        logits, _ = read_on(model, ids, positions, mask, None)
    weights = model.get_output_embeddings().weight.numel()
    assert largest.numbers < ROWS * weights / 2, "a copy of the output weights for each row"
    assert torch.equal(logits, model(ids).logits[:, -1])
    assert not model.get_output_embeddings()._forward_pre_hooks
