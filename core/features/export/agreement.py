"""Whether two models agree: both score a few windows of general text, token by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

WINDOW = 256  # tokens
WINDOWS = 4
# How far a token's log-probability may move, in nats: the mean over tokens, and the maximum. Seen with SmolLM2-135M and
# LoRA r16 on two windows: 2e-6 and 2e-5 in float32, 8e-4 and 6e-3 in float16, 0.04 and 0.4 in bfloat16.
BOUNDS = {"float32": (1e-4, 1e-3), "float16": (5e-3, 5e-2), "bfloat16": (0.1, 1.5)}


@dataclass(frozen=True)
class Agreement:
    """How far two models are apart, in nats per token (a reward model: in its own unit), and how far they may be."""

    of: str  # what is compared with what
    tokens: int
    mean: float
    largest: float
    mean_bound: float
    largest_bound: float
    of_texts: bool = False  # a reward model has one score per text

    @property
    def holds(self) -> bool:
        """Return whether they agree; NaN never does."""
        return self.mean <= self.mean_bound and self.largest <= self.largest_bound

    @property
    def words(self) -> str:
        """Return the comparison as one line."""
        reward = f"apart in the reward of {self.tokens} pieces"
        apart = reward if self.of_texts else f"nats/token apart on {self.tokens} tokens"
        return (
            f"{self.of}: {self.mean:.2g} {apart} of general text, {self.largest:.2g} at most"
            f" (allowed: {self.mean_bound:g}, {self.largest_bound:g})"
        )


def windows(text: str, tokenizer: Tokenizer, longest: int | None) -> Tensor:
    """Cut a text into windows of token ids [windows, tokens]; `longest` is the model's longest input."""
    width = min(WINDOW, longest or WINDOW)
    ids = tokenizer(text[: width * WINDOWS * 16], add_special_tokens=False, verbose=False).input_ids
    count = min(WINDOWS, len(ids) // width)
    if not count:
        width, count = len(ids), 1
    return torch.tensor(ids[: count * width]).view(count, width)


def scores(model: Any, texts: Tensor) -> Tensor:
    """Return the log-probability (nats) of each token given those before it, or a reward model's score of each text.

    texts [windows, tokens] -> [windows, tokens - 1] or [windows, 1], float32 on the CPU.
    """
    scores_of_texts = []
    for ids in texts:
        with torch.no_grad():
            logits = model(input_ids=ids[None].to(model.device), use_cache=False).logits[0].float()
        if logits.ndim == 1:  # a reward model
            scores_of_texts.append(logits)
            continue
        logits = logits[-len(ids) : -1]  # an adapter's virtual tokens come before the text
        log_probs = log_softmax(logits, -1)
        scores_of_texts.append(log_probs.gather(1, ids[1:, None].to(log_probs.device))[:, 0])
    return torch.stack([score.cpu() for score in scores_of_texts])


def compare(of: str, before: Tensor, after: Tensor, *dtypes: str) -> Agreement:
    """Compare two models' scores; the coarsest number format involved sets the bounds."""
    apart = (before - after).abs()
    mean_bound, largest_bound = max(BOUNDS[dtype] for dtype in dtypes)
    mean, largest, of_texts = float(apart.mean()), float(apart.max()), apart.ndim == 2 and apart.shape[1] == 1
    return Agreement(of, apart.numel(), mean, largest, mean_bound, largest_bound, of_texts)
