"""The drift probe: how far the model has moved on general text since the run began, measured while it trains.

`drift` is the rise of the cross-entropy in nats per token (as PEFT's published benchmark defines it); `kl` is the
divergence from the run's start, KL(start || now) in nats per token, on the first window of the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from finetop.core.models import attention, collectives

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


WINDOW = 256  # tokens
TOKENS = 1536
TOKENS_CPU = 512  # three probes take 4 % of 60 demo steps: 1.4 CPU seconds a probe, 1.8 a step
KL_TOKENS = 256  # tokens whose whole distribution is kept: 25 MB for a vocabulary of 49,000 in 16 bits
KL_AT_ONCE = 32  # of these, in float32: comparing all at once took 0.7 GB for 128,256 words


@dataclass(frozen=True)
class Probe:
    """The text, and the model's scores on it at the start."""

    windows: Tensor  # [windows, WINDOW] token ids
    nats_per_token: float
    log_probs: Tensor  # [KL_TOKENS, vocabulary]


def start(model: Any, tokenizer: Tokenizer, text: str, device: str, *, shared: bool = True) -> Probe | None:
    """Measure the model before its first step. None if the text is shorter than one window.

    With `shared` each rank reads its share of the windows; else every rank reads all, as ranks of a sharded model must.
    """
    most = TOKENS_CPU if device == "cpu" else TOKENS
    tokens = tokenizer(text[: most * 16], add_special_tokens=False, verbose=False).input_ids[:most]
    count = len(tokens) // WINDOW
    if not count:
        print(f"no drift probe: its text has {len(tokens)} tokens, fewer than {WINDOW}")
        return None
    windows = torch.tensor(tokens[: count * WINDOW], device=device).view(count, WINDOW)
    nats, log_probs = _score(model, windows, shared=shared)
    return Probe(windows, nats, log_probs)


def measure(model: Any, probe: Probe, *, shared: bool = True) -> dict[str, float]:
    """Return drift and kl against the start, in nats per token."""
    nats, log_probs = _score(model, probe.windows, shared=shared)
    pairs = zip(probe.log_probs.split(KL_AT_ONCE), log_probs.split(KL_AT_ONCE), strict=True)
    kl = torch.cat([_kl(before.float(), now.float()) for before, now in pairs]).mean()
    return {"drift": nats - probe.nats_per_token, "kl": float(kl)}


def _kl(before: Tensor, now: Tensor) -> Tensor:
    return (before.exp() * (before - now)).sum(-1)


def _score(model: Any, windows: Tensor, *, shared: bool) -> tuple[float, Tensor]:
    """Return the mean cross-entropy over all windows, and the log-probabilities [KL_TOKENS, vocabulary] of the first.

    With `shared` only the first rank reads that window, and its log-probabilities are the ones used.
    """
    was_training = model.training
    model.eval()
    sums, kept = [], None
    for window in collectives.own_share(list(windows)) if shared else windows:
        with torch.no_grad(), attention.beside_training(model):
            # an adapter's virtual tokens come before the text: count from the end
            logits = model(input_ids=window[None], use_cache=False).logits[0, -len(window) : -1].float()
        sums.append(float(cross_entropy(logits, window[1:], reduction="sum")))
        if kept is None:
            kind = torch.float16 if windows.is_cuda else torch.bfloat16
            kept = log_softmax(logits[:KL_TOKENS], dim=-1).to(kind)
    model.train(was_training)
    if kept is None:  # fewer windows than ranks
        kept = torch.zeros(1, 1)
    total = sum(collectives.in_order(collectives.gathered(sums)) if shared else sums)
    return total / (windows.shape[0] * (WINDOW - 1)), kept
