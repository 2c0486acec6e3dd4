"""KL(base || now) over positions as one function of autograd, a tile of positions at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

POSITIONS = 128  # whose distributions are compared at once: 25 MB in float32 for 49,152 words


class Divergence(torch.autograd.Function):  # type: ignore[misc]  # the library is untyped
    """Mean of KL(base || now) over positions, in nats a token. Only the logits and their gradient are held whole.

    Both [positions, vocabulary]: logits, and the base's log-probabilities, which 16 bits have rounded and which are
    made to sum to 1 again.
    """

    @staticmethod
    def forward(context: Any, logits: Tensor, base: Tensor) -> Tensor:
        context.save_for_backward(logits, base)
        total = logits.new_zeros((), dtype=torch.float32)
        for at in range(0, len(logits), POSITIONS):
            now = torch.log_softmax(logits[at : at + POSITIONS].float(), -1)
            before = torch.log_softmax(base[at : at + POSITIONS].float(), -1)
            total += (before.exp() * (before - now)).sum()
        return total / len(logits)

    @staticmethod
    def backward(context: Any, *given: Tensor) -> tuple[Tensor, None]:
        """Return (softmax(logits) - p) / positions."""
        logits, base = context.saved_tensors
        found = torch.empty_like(logits)
        for at in range(0, len(logits), POSITIONS):
            now = torch.softmax(logits[at : at + POSITIONS].float(), -1)
            now -= torch.softmax(base[at : at + POSITIONS].float(), -1)
            found[at : at + POSITIONS] = now * (given[0] / len(logits))
        return found, None


def divergence(logits: Tensor, base: Tensor) -> Tensor:
    """Return KL(base || now) in nats a token: logits and the base's log-probabilities, both [positions, vocabulary]."""
    found: Tensor = Divergence.apply(logits, base)
    return found
