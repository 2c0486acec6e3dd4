"""Greedy answers.

Batched, padded at the left, cut at the stop strings, independent of a model's own generation settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from finetop.core.check.scorer import takes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from finetop.core.check.scorer import BatchPlan

TOKENS_PER_ROW_TOKEN = 16  # written answers need far less memory a token than scored ones
LONGEST_ANSWER = 256  # tokens, where a task sets no limit of its own


@dataclass(frozen=True)
class Prompt:
    """What the model goes on from, and where it must stop."""

    tokens: tuple[int, ...]
    stop: tuple[str, ...]
    max_new_tokens: int


def answer(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], plan: BatchPlan
) -> list[str]:
    """Write the greedy answer to each prompt, in the order given; the plan bounds a batch's tokens."""
    order = sorted(
        range(len(prompts)), key=lambda place: (prompts[place].stop, -_room(prompts[place]), place)
    )
    answers: dict[int, str] = {}
    while order:
        first = prompts[order[0]]
        size = max(1, plan.row_tokens * TOKENS_PER_ROW_TOKEN // _room(first))
        batch = [place for place in order[:size] if prompts[place].stop == first.stop]
        order = order[len(batch) :]
        written = _answer_batch(model, tokenizer, [prompts[place] for place in batch])
        answers.update(zip(batch, written, strict=True))
    return [answers[place] for place in range(len(prompts))]


def _room(prompt: Prompt) -> int:
    return len(prompt.tokens) + prompt.max_new_tokens


def _answer_batch(model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[str]:
    """Write answers to prompts that share their stop strings; an answer that ended leaves the batch."""
    ends = end_tokens(model, tokenizer)
    written: list[list[int]] = [[] for _ in prompts]
    active = list(range(len(prompts)))
    state = _begin(model, tokenizer, prompts)
    while True:
        for place, token in zip(active, state.following, strict=True):
            written[place].append(token)
        going = [
            row
            for row, place in enumerate(active)
            if written[place][-1] not in ends
            and len(written[place]) < prompts[place].max_new_tokens
            and not _stopped(tokenizer, written[place], prompts[place].stop)
        ]
        if not going:
            break
        active = [active[row] for row in going]
        state = _step(model, state, going)
    return [
        _cut(tokenizer.decode(tokens, skip_special_tokens=True), prompt.stop)
        for tokens, prompt in zip(written, prompts, strict=True)
    ]


@dataclass
class _State:
    following: list[int]  # the next token of each answer under way
    read: Tensor  # attention mask [answers, tokens so far]
    cache: Any


def _begin(model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> _State:
    """Read the prompts: what all of them begin with once, then the rest of each, padded at its left."""
    import torch

    shared = _shared_beginning(prompts)
    cache = None
    if shared:
        ids = torch.tensor([prompts[0].tokens[:shared]], device=model.device)
        mask = torch.ones_like(ids)
        cache = _forward(model, ids, mask, mask.cumsum(-1) - 1, None).cache
        cache.batch_repeat_interleave(len(prompts))
    rests = [prompt.tokens[shared:] for prompt in prompts]
    width = max(map(len, rests))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    padded = [[pad] * (width - len(rest)) + list(rest) for rest in rests]
    read = [[1] * shared + [0] * (width - len(rest)) + [1] * len(rest) for rest in rests]
    mask = torch.tensor(read, device=model.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, shared:]
    return _forward(model, torch.tensor(padded, device=model.device), mask, positions, cache)


def _shared_beginning(prompts: Sequence[Prompt]) -> int:
    """Count the tokens that all prompts begin with (a template's system turn), leaving each one of its own at least."""
    if len(prompts) == 1:
        return 0
    most = min(len(prompt.tokens) for prompt in prompts) - 1
    first = prompts[0].tokens
    same = (all(prompt.tokens[at] == first[at] for prompt in prompts) for at in range(most))
    return sum(1 for _ in takewhile(bool, same))


def _step(model: Any, state: _State, going: list[int]) -> _State:
    import torch

    mask, following = state.read, torch.tensor(state.following, device=model.device)
    if len(going) < len(state.following):
        rows = torch.tensor(going, device=model.device)
        state.cache.batch_select_indices(rows)
        mask, following = mask[rows], following[rows]
    mask = torch.cat([mask, mask.new_ones(len(going), 1)], dim=1)
    return _forward(model, following[:, None], mask, mask.sum(-1, keepdim=True) - 1, state.cache)


def _forward(model: Any, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> _State:
    import torch

    memory = (
        "cache" if takes(model, "cache") else "past_key_values"
    )  # code that comes with a model may be older
    with torch.inference_mode():
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            **{memory: cache},
            **({"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}),
        )
    return _State(out.logits[:, -1].argmax(-1).tolist(), mask, getattr(out, memory))


def _stopped(tokenizer: PreTrainedTokenizerBase, tokens: list[int], stop: tuple[str, ...]) -> bool:
    """Say if an answer has run into a stop string.

    Its last tokens are enough: each adds a character or more, or ends one.
    """
    if not stop:
        return False
    tail = tokenizer.decode(tokens[-max(map(len, stop)) - 4 :], skip_special_tokens=True)
    return any(ending in tail for ending in stop)


def _cut(text: str, stop: tuple[str, ...]) -> str:
    for ending in stop:
        text = text.split(ending)[0]
    return text


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """List the tokens that end an answer: the tokenizer's and the model's."""
    of_model = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    many = of_model if isinstance(of_model, list) else [of_model]
    return sorted({int(token) for token in (*many, tokenizer.eos_token_id) if token is not None})
