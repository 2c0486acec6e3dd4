"""General text for protections, and the base's scores of text: windows, log-probabilities, divergence from them.

The first tokens of a suite's text are reserved for the drift probe and the check: measured text is not trained on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finetop.core.errors import BadInput
from finetop.core.models import attention
from finetop.core.protocol.events import Phase
from finetop.core.recipe.schema import Recipe
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.files import read_given
from finetop.core.runtime.home import Home
from finetop.core.train.trainer_setup import Setup

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer


MEASURED = 1536  # tokens: the drift probe reads 512 to 1,536, the check's drift 1,024
ROWS = 1024  # tokens in a batch that is only read: its logits are 200 MB in float32 for 49,000 words
POSITIONS = 128  # compared at once: 25 MB in float32 for 49,152 words


def windows(
    key: str, path: str | None, tokens: int, most: int, recipe: Recipe, tokenizer: Tokenizer, home: Home
) -> list[list[int]]:
    """Cut general text, from a file or from the recipe's suite, into at most `most` windows of `tokens` tokens.

    Windows are spread evenly over the text. Raises BadInput that names `key` if there is not even one.
    """
    from finetop.core.check.tasks import suite

    if path is not None:
        try:
            text, skipped = read_given(Path(path)).decode(), 0
        except (OSError, ValueError) as error:
            hint = "Give a .txt file in UTF-8."
            raise BadInput(f"{key}.text: can't read {path}: {error}", hint=hint) from error
    else:
        text, skipped = suite.general_text(recipe, home) or "", MEASURED
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    ids = ids[skipped:]
    count = len(ids) // tokens
    if not count:
        why = f"{key}: a window has {tokens} tokens, but general text has {len(ids)} that are not used for measuring."
        raise BadInput(why, hint=f"Set {key}.text to a .txt file with more.")
    picked = sorted({at * count // min(most, count) for at in range(min(most, count))})
    return [ids[at * tokens : (at + 1) * tokens] for at in picked]


def windows_of(key: str, options: Any, setup: Setup) -> list[list[int]]:
    """Cut the text that a protection's options name: see `windows`."""
    most, recipe = options.windows, setup.recipe
    return windows(key, options.text, options.tokens, most, recipe, setup.tokenizer, setup.home)


@contextmanager
def as_base(model: Any) -> Iterator[None]:
    """Make a model that has not trained yet act as its base: in evaluation mode, with any adapter off."""
    from finetop.core.train import check_callback

    with check_callback.undisturbed(model, check_callback.own_forwards(model)), torch.no_grad():
        if check_callback.has_its_base(model):
            with model.disable_adapter():
                yield
        else:
            yield


def log_probs(model: Any, ids: Sequence[int]) -> Tensor:
    """Read one text: log-probabilities [tokens - 1, vocabulary] in float32, for each token but the first."""
    read = model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False)
    return torch.log_softmax(read.logits[0, -len(ids) : -1].float(), dim=-1)


def surprise(
    model: Any, rows: Sequence[Sequence[int]], pad_token_id: int, events: EventLog, doing: str
) -> list[Tensor]:
    """Return for each row the nats of every token but the first: -log p(token | those before it) [tokens - 1].

    Rows of similar length are read together; progress is reported once a second as the phase `doing`.
    """
    order = sorted(range(len(rows)), key=lambda at: -len(rows[at]))
    nats_of: dict[int, Tensor] = {}
    reported = 0.0
    while order:
        size = max(1, ROWS // len(rows[order[0]]))
        batch, order = order[:size], order[size:]
        for at, nats in zip(batch, _nats(model, [rows[at] for at in batch], pad_token_id), strict=True):
            nats_of[at] = nats
        if time.monotonic() - reported > 1.0:
            reported = time.monotonic()
            events.write(Phase(doing, float(len(nats_of)), float(len(rows)), "rows"))
    return [nats_of[at] for at in range(len(rows))]


def _nats(model: Any, rows: Sequence[Sequence[int]], pad_token_id: int) -> list[Tensor]:
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad_token_id)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(list(row))
        mask[at, : len(row)] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    with torch.no_grad(), attention.beside_training(model):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    nats = []
    for at, row in enumerate(rows):  # one row at a time, to hold float32 logits of one only
        scores = torch.log_softmax(logits[at, : len(row) - 1].float(), dim=-1)
        nats.append(-scores.gather(1, ids[at, 1 : len(row), None])[:, 0].cpu())
    return nats


class Divergence(torch.autograd.Function):  # type: ignore[misc]  # the library is untyped
    """Mean of KL(base || now) over positions, in nats per token. Only the logits and their gradient are held whole.

    Both [positions, vocabulary]: logits, and the base's log-probabilities, which were rounded to 16 bits and are
    normalized again.
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
        gradient = torch.empty_like(logits)
        for at in range(0, len(logits), POSITIONS):
            now = torch.softmax(logits[at : at + POSITIONS].float(), -1)
            now -= torch.softmax(base[at : at + POSITIONS].float(), -1)
            gradient[at : at + POSITIONS] = now * (given[0] / len(logits))
        return gradient, None


def divergence(logits: Tensor, base: Tensor) -> Tensor:
    """Return KL(base || now) in nats per token of logits and base log-probabilities, both [positions, vocabulary]."""
    kl: Tensor = Divergence.apply(logits, base)
    return kl
