"""A model's reading of answers: log-probabilities, entropies, and the hidden states from which values are computed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from finetop.core.errors import BadInput
from finetop.core.models.forward import contiguous_at_head, takes

POSITIONS = 512  # computed at once: with 49,000 tokens, 100 MB a copy in float32


@dataclass(frozen=True)
class AnswerReading:
    """A model's reading of a batch of answers; logprobs and entropy [answers, tokens] in nats, hidden [.., width]."""

    logprobs: Tensor
    entropy: Tensor
    hidden: Tensor


@dataclass
class Reader:
    """A causal model that reads answers, at the temperature that they are sampled with."""

    model: Any
    temperature: float

    def __post_init__(self) -> None:
        inner = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        self.takes_positions = takes(inner, "position_ids")
        self.keeps_few = takes(inner, "logits_to_keep")
        self.head = inner.get_output_embeddings()
        if self.head is None:
            hint = "Pick a model of a usual kind, such as Llama, Qwen or Mistral."
            raise BadInput(f"model.id: can't find the output layer of {type(inner).__name__}.", hint=hint)

    def read(self, ids: Tensor, attention: Tensor, answers: int, *, with_entropy: bool) -> AnswerReading:
        """Read ids and attention [rows, prompt + answers], of which the last `answers` columns are the answers.

        Prompts are padded on the left, answers on the right. The entropy has a gradient only `with_entropy`.
        """
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": attention, "use_cache": False}
        if self.takes_positions:
            given["position_ids"] = (attention.cumsum(1) - 1).clamp(min=0)
        if self.keeps_few:
            given["logits_to_keep"] = answers + 1
        with contiguous_at_head(self.model), self._heads_input() as seen:
            logits = self.model(**given).logits
        logits, hidden = logits[:, -answers - 1 : -1], seen[0][:, -answers - 1 : -1]
        wanted, heat = ids[:, -answers:], self.temperature
        logprobs, entropy = log_probabilities(logits, wanted, heat, entropy_moves=with_entropy)
        return AnswerReading(logprobs, entropy, hidden)

    @contextmanager
    def _heads_input(self) -> Iterator[list[Tensor]]:
        """Capture the input of the output layer: the last hidden states, after the last norm."""
        seen: list[Tensor] = []
        handle = self.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            yield seen
        finally:
            handle.remove()


def log_probabilities(
    logits: Tensor, tokens: Tensor, temperature: float, *, entropy_moves: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each token, and the entropy at its position, of softmax(logits / temperature).

    logits [rows, tokens, vocabulary], tokens [rows, tokens] -> both [rows, tokens], float32, in nats.
    """
    rows, count, width = logits.shape
    flat, wanted = logits.reshape(-1, width), tokens.reshape(-1, 1)
    logprobs, entropies = [], []
    for at in range(0, len(flat), POSITIONS):
        whole = torch.log_softmax(flat[at : at + POSITIONS].float() / temperature, -1)
        logprobs.append(whole.gather(1, wanted[at : at + POSITIONS]).squeeze(1))
        for_entropy = whole if entropy_moves else whole.detach()
        entropies.append(-(for_entropy.exp() * for_entropy).sum(-1))
    return torch.cat(logprobs).view(rows, count), torch.cat(entropies).view(rows, count)


class Reference:
    """The model as it began: the same weights with the adapter off, or else a frozen copy."""

    def __init__(self, model: Any, temperature: float, *, adapter_keeps_base: bool) -> None:
        self.model = model if adapter_keeps_base else copy.deepcopy(model).requires_grad_(False).eval()
        self.is_same = adapter_keeps_base
        self.reader = Reader(self.model, temperature)

    def logprobs(self, ids: Tensor, attention: Tensor, answers: int) -> Tensor:
        """Return the reference's log-probability of each token of the answers, as `Reader.read` does."""
        with torch.no_grad(), self.model.disable_adapter() if self.is_same else nullcontext():
            return self.reader.read(ids, attention, answers, with_entropy=False).logprobs


def switch_dropout_off(model: nn.Module) -> None:
    """Set every dropout to 0: old and new probabilities of an answer must differ only through the weights."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


class Value(nn.Module):  # type: ignore[misc]  # the library is untyped
    """Maps the policy's last hidden states [answers, tokens, width] to values [answers, tokens] in float32.

    A head is one linear layer whose error also trains the policy's weights. A separate network has two layers, and its
    gradient never reaches the policy. Both are 0 everywhere at the start.
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
            values: Tensor = self.layers(held.float()).squeeze(-1)
        return values
