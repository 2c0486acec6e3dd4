"""Greedy answers: batched, left-padded, cut at stop strings, whatever a model's own generation settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from finetop.core.check.scoring.batch_plan import BatchPlan, Prompt
from finetop.core.check.scoring.turns import take_turns
from finetop.core.models import continuous
from finetop.core.models.engine import tokens_held
from finetop.core.models.forward import end_tokens, keeps_cache, longest_packed, read_on, spread

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.check.scoring.prefix_cache import PrefixMemory

LEAST_SHARED = 8  # shared leading tokens of a batch that are worth a forward pass of their own
# Tokens that a GPU writes between two looks at what it wrote: a look waits for the GPU, and answers that ended leave
# the batch by a copy of its whole cache.
BETWEEN_LOOKS = 8


def answer(
    model: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    plan: BatchPlan,
    memory: PrefixMemory | None = None,
    *,
    shares: bool = False,
) -> list[str]:
    """Write the greedy answer to each prompt, in the order given; the plan bounds a batch's tokens.

    `memory` keeps prefixes that later calls share; an error empties it. With `shares` the ranks of a job write every
    N-th batch each; continuous batches are written by all ranks.
    """
    import torch

    try:
        with torch.inference_mode():
            if plan.engine == "vllm":
                return _answer_by_copy(model, tokenizer, prompts, plan)
            if not keeps_cache(model):
                alone = (partial(_answer_alone, model, tokenizer, prompt) for prompt in prompts)
                return take_turns(alone, shares=shares)
            if plan.engine != "exact":
                return _answer_continuously(model, tokenizer, prompts, plan)
            return _answer_all(model, tokenizer, prompts, plan, memory, shares=shares)
    except BaseException:
        if memory is not None:
            memory.clear()
        raise


def _answer_continuously(
    model: Any, tokenizer: Tokenizer, prompts: Sequence[Prompt], plan: BatchPlan
) -> list[str]:
    from transformers import GenerationConfig

    def asked(prompt: Prompt) -> continuous.GenerationRequest:
        stops = partial(has_stopped, tokenizer, stop=prompt.stop) if prompt.stop else None
        return continuous.GenerationRequest(prompt.tokens, prompt.max_new_tokens, stops)

    config = GenerationConfig(do_sample=False, eos_token_id=end_tokens(model, tokenizer))
    held = tokens_held(model, plan.row_tokens)
    asked_all, at_once, flash = [*map(asked, prompts)], plan.row_tokens, plan.engine == "continuous-flash"
    written = continuous.write(model, asked_all, config, held=held, at_once=at_once, flash=flash)
    return _texts(tokenizer, written, prompts)


def _answer_by_copy(
    model: Any, tokenizer: Tokenizer, prompts: Sequence[Prompt], plan: BatchPlan
) -> list[str]:
    assert plan.copy is not None
    requests = [(prompt.tokens, prompt.max_new_tokens, prompt.stop) for prompt in prompts]
    held = tokens_held(model, plan.row_tokens)
    return _texts(tokenizer, plan.copy.write(model, requests, end_tokens(model, tokenizer), held), prompts)


def _answer_all(
    model: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    plan: BatchPlan,
    memory: PrefixMemory | None,
    *,
    shares: bool,
) -> list[str]:
    most = longest_packed(model.config) if plan.layout == "packed" else 0
    # Where packing is inexact, so is continuing from a prefix.
    splits = [_room(prompt) <= most for prompt in prompts]
    begins = [
        memory.prefixes.longest(prompt) if memory is not None and splits[place] else -1
        for place, prompt in enumerate(prompts)
    ]

    def alike(place: int) -> tuple[bool, int, tuple[str, ...]]:
        return splits[place], begins[place], prompts[place].stop

    together = tokens_held(model, plan.row_tokens)

    def write(batch: list[int]) -> list[str]:
        some, first = [prompts[place] for place in batch], batch[0]
        known = _known(model, memory, begins[first], plan)
        shared = _shared_beginning(some) if splits[first] else 0  # padding after it would shift a window
        return _write(model, tokenizer, some, _begin(model, tokenizer, some, known, shared))

    order = sorted(range(len(prompts)), key=lambda place: (*alike(place), -_room(prompts[place]), place))
    batches: list[list[int]] = []
    while order:
        first = order[0]
        size = max(1, together // _room(prompts[first]))
        batch = [place for place in order[:size] if alike(place) == alike(first)]
        order = order[len(batch) :]
        batches.append(batch)
    written = take_turns((partial(write, batch) for batch in batches), shares=shares)
    answers = {
        place: text
        for batch, texts in zip(batches, written, strict=True)
        for place, text in zip(batch, texts, strict=True)
    }
    return [answers[place] for place in range(len(prompts))]


def _room(prompt: Prompt) -> int:
    return len(prompt.tokens) + prompt.max_new_tokens


def _known(model: Any, memory: PrefixMemory | None, number: int, plan: BatchPlan) -> tuple[Any, int]:
    """Return the cache of a kept prefix for one row, and its length in tokens; (None, 0) for number -1."""
    if memory is None or number < 0:
        return None, 0
    past = memory.past(model, number, plan.row_tokens)
    return past.fresh(1), past.length


def _write(model: Any, tokenizer: Tokenizer, prompts: Sequence[Prompt], state: _State) -> list[str]:
    """Write answers to prompts with the same stop strings; at each look the finished ones leave the batch."""
    import torch

    ends = end_tokens(model, tokenizer)
    written: list[list[int]] = [[] for _ in prompts]
    active = list(range(len(prompts)))
    most = between_looks(model.device)
    unseen = [state.following]
    while True:
        for place, tokens in zip(active, torch.stack(unseen, dim=1).tolist(), strict=True):
            _append(tokenizer, written[place], tokens, prompts[place], ends)
        ended = [_has_ended(tokenizer, written[place], prompts[place], ends) for place in active]
        going = [row for row, is_over in enumerate(ended) if not is_over]
        if not going:
            break
        if len(going) < len(active):
            active = [active[row] for row in going]
            state = _leave(state, going)
        unseen = []
        left = max(prompts[place].max_new_tokens - len(written[place]) for place in active)
        last = torch.tensor([_room(prompts[place]) - 1 for place in active], device=model.device)[:, None]
        for _ in range(min(most, left)):
            state = _step(model, state, last)
            unseen.append(state.following)
    return _texts(tokenizer, written, prompts)


def between_looks(device: torch.device) -> int:
    """Return how many tokens are written between two looks; on a CPU a look costs nothing."""
    return 1 if device.type == "cpu" else BETWEEN_LOOKS


def _append(
    tokenizer: Tokenizer, written: list[int], tokens: Sequence[int], prompt: Prompt, ends: Sequence[int]
) -> None:
    """Add tokens to an answer up to its end; what its row wrote between the end and the look is dropped."""
    for token in tokens:
        written.append(token)
        if _has_ended(tokenizer, written, prompt, ends):
            return


def _answer_alone(model: Any, tokenizer: Tokenizer, prompt: Prompt) -> str:
    """Write one answer, reading everything again for each token, for models without a cache."""
    import torch

    ends = end_tokens(model, tokenizer)
    written: list[int] = []
    while not written or not _has_ended(tokenizer, written, prompt, ends):
        ids = torch.tensor([[*prompt.tokens, *written]], device=model.device)
        written.append(int(model(input_ids=ids, use_cache=False).logits[0, -1].argmax()))
    return answer_text(tokenizer, written, prompt.stop)


@dataclass
class _State:
    following: Tensor  # the next token of each unfinished answer [answers]
    read: Tensor  # attention mask [answers, tokens so far]
    cache: Any


def _begin(
    model: Any, tokenizer: Tokenizer, prompts: Sequence[Prompt], known: tuple[Any, int], shared: int
) -> _State:
    """Read the prompts: their shared prefix once, then the rest of each, left-padded."""
    import torch

    cache, begun = known
    if shared - begun >= LEAST_SHARED:
        ids = torch.tensor([prompts[0].tokens[begun:shared]], device=model.device)
        mask = torch.ones((1, shared), dtype=torch.long, device=model.device)
        _, cache = read_on(model, ids, torch.arange(begun, shared, device=model.device)[None], mask, cache)
        begun = shared
    if cache is not None and len(prompts) > 1:
        spread(cache, len(prompts))
    rests = [prompt.tokens[begun:] for prompt in prompts]
    width = max(map(len, rests))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    padded = [[pad] * (width - len(rest)) + list(rest) for rest in rests]
    read = [[1] * begun + [0] * (width - len(rest)) + [1] * len(rest) for rest in rests]
    mask = torch.tensor(read, device=model.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, begun:]
    return _forward(model, torch.tensor(padded, device=model.device), mask, positions, cache)


def _shared_beginning(prompts: Sequence[Prompt]) -> int:
    """Count the tokens that all prompts begin with (a template's system turn), leaving each at least one of its own."""
    if len(prompts) == 1:
        return 0
    most = min(len(prompt.tokens) for prompt in prompts) - 1
    first = prompts[0].tokens
    same = (all(prompt.tokens[at] == first[at] for prompt in prompts) for at in range(most))
    return sum(1 for _ in takewhile(bool, same))


def _leave(state: _State, going: list[int]) -> _State:
    """Return the batch with these rows alone."""
    import torch

    rows = torch.tensor(going, device=state.read.device)
    state.cache.batch_select_indices(rows)
    return _State(state.following[rows], state.read[rows], state.cache)


def _step(model: Any, state: _State, last: Tensor) -> _State:
    """Write one more token; `last` [answers, 1] is the last position of each: one that is over stays at it."""
    import torch

    mask = torch.cat([state.read, state.read.new_ones(len(last), 1)], dim=1)
    positions = (mask.sum(-1, keepdim=True) - 1).minimum(last)
    return _forward(model, state.following[:, None], mask, positions, state.cache)


def _forward(model: Any, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> _State:
    logits, cache = read_on(model, ids, positions, mask, cache)
    return _State(logits.argmax(-1), mask, cache)


def _has_ended(tokenizer: Tokenizer, tokens: list[int], prompt: Prompt, ends: Sequence[int]) -> bool:
    is_full = len(tokens) >= prompt.max_new_tokens
    return tokens[-1] in ends or is_full or has_stopped(tokenizer, tokens, prompt.stop)


def has_stopped(tokenizer: Tokenizer, tokens: list[int], stop: tuple[str, ...]) -> bool:
    """Return whether the last tokens of an answer, which suffice, contain a stop string or special token's text."""
    if not stop:
        return False
    tail = tokenizer.decode(tokens[-max(map(len, stop)) - 4 :])
    return any(ending in tail for ending in stop)


def _texts(tokenizer: Tokenizer, written: Sequence[list[int]], prompts: Sequence[Prompt]) -> list[str]:
    return [answer_text(tokenizer, ids, prompt.stop) for ids, prompt in zip(written, prompts, strict=True)]


def answer_text(tokenizer: Tokenizer, tokens: list[int], stop: tuple[str, ...]) -> str:
    """Decode an answer without special tokens, up to the first stop string."""
    text = str(tokenizer.decode(tokens, skip_special_tokens=True))
    for ending in stop:
        text = text.split(ending)[0]
    return text
