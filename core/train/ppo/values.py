"""What guesses how much an answer will yet earn: a head on the policy, or a small network of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class Value(nn.Module):  # type: ignore[misc]  # the library is untyped
    """Reads the policy's last hidden states [answers, tokens, width] and gives values [answers, tokens] in float32.

    The head is one linear layer, and its error moves the policy's weights too. The network of its own has two layers,
    and nothing that it learns reaches the policy. Both begin at 0 everywhere.
    """

    def __init__(self, width: int, *, separate: bool) -> None:
        super().__init__()
        self.separate = separate
        inner: list[nn.Module] = [nn.LayerNorm(width), nn.Linear(width, width), nn.GELU()] if separate else []
        self.layers = nn.Sequential(*inner, nn.Linear(width, 1))
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, hidden: Tensor) -> Tensor:
        held = hidden.detach() if self.separate else hidden
        with torch.autocast(hidden.device.type, enabled=False):
            found: Tensor = self.layers(held.float()).squeeze(-1)
        return found
