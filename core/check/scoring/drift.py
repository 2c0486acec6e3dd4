"""Drift on general text, beside the verdict: nats per token under base and tuned model, and their divergence.

An alarm, never a verdict: perplexity has no bounds, and a change of style alone moves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from finetop.core.check.scoring.scorer import window_log_probs
from finetop.core.check.scoring.turns import take_turns
from finetop.core.protocol.events import ItemScore

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

WINDOW = 256  # tokens; each window is read without what precedes it
WINDOWS = 4
KL_WINDOWS = 1

Windows = tuple[tuple[int, ...], ...]


def windows_of(text: str, tokenizer: Tokenizer) -> Windows:
    """Cut the beginning of a text into windows of WINDOW tokens; empty if it is shorter than one."""
    most = WINDOW * WINDOWS
    ids = tokenizer(text[: most * 16], add_special_tokens=False, verbose=False).input_ids[:most]
    return tuple(tuple(ids[at : at + WINDOW]) for at in range(0, len(ids) - WINDOW + 1, WINDOW))


def prompts_of(windows: Windows) -> dict[str, str]:
    """Return the windows as cache items, each with a hash of its tokens."""
    hashes = [hashlib.sha256(repr(ids).encode()).hexdigest()[:24] for ids in windows]
    return {str(place): digest for place, digest in enumerate(hashes)}


def score_windows(model: Any, windows: Windows, *, shares: bool = False) -> list[ItemScore]:
    """Score each window, shared by ranks; `gold_log_prob` sums the log-probabilities of all tokens but the first."""

    def score(place: int) -> ItemScore:
        ids = windows[place]
        return ItemScore(str(place), 0.0, gold_log_prob=_log_prob_of(window_log_probs(model, ids), ids))

    return take_turns([partial(score, place) for place in range(len(windows))], shares=shares)


def nats_per_token(windows: Windows, scores: Sequence[ItemScore]) -> float:
    """Average over all predicted tokens of all windows, of which there is at least one."""
    tokens = sum(len(ids) - 1 for ids in windows)
    return -sum(score.gold_log_prob or 0.0 for score in scores) / tokens


def divergence(tuned: Any, as_base: Callable[[], Any], windows: Windows) -> float:
    """Return KL(base || tuned) in nats per token; in `as_base()` the one loaded model is its own base."""
    total, tokens = 0.0, 0
    for ids in windows[:KL_WINDOWS]:
        with as_base():
            base = window_log_probs(tuned, ids)
        moved = window_log_probs(tuned, ids)
        total += float((base.exp() * (base - moved)).sum(-1).double().sum())
        tokens += len(ids) - 1
    return total / tokens


def _log_prob_of(log_probs: Any, ids: Sequence[int]) -> float:
    import torch

    labels = torch.tensor(list(ids[1:]), device=log_probs.device)
    return float(log_probs.gather(1, labels[:, None]).double().sum())
