"""Generates an answer token by token with transformers' own `generate`: it is the answer that users get elsewhere.

The keys and values of earlier turns stay in memory: the next turn reads only what is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput, FinetopError
from finetop.core.features.chat.sides import Answered
from finetop.core.models.forward import cache_argument, end_tokens, keeps_cache, longest_input

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.features.chat.messages import ChatSettings

MOST_HELD = 16  # tokens without text, as pieces of a character are; then they are shown as they are
LOST = "\ufffd"  # stands for bytes that are no character


@dataclass
class Kept:
    """The keys and values of a side's conversation, and the tokens that they are of."""

    cache: Any = None
    ids: list[int] = field(default_factory=list)


@dataclass
class Decoder:
    """Turns tokens into text as they come: a piece ends where a character does."""

    tokenizer: Tokenizer
    ids: list[int] = field(default_factory=list)
    begin: int = 0  # of the tokens that are decoded together with the next one
    shown: int = 0  # tokens whose text was returned

    def push(self, token: int) -> str:
        """Return the text that a token completes."""
        self.ids.append(token)
        text = self._new_text()
        if not text or (text.endswith(LOST) and len(self.ids) - self.shown < MOST_HELD):
            return ""
        self.begin, self.shown = self.shown, len(self.ids)
        return text

    def rest(self) -> str:
        """Return the text that was held back, at the end."""
        return self._new_text() if self.shown < len(self.ids) else ""

    def _new_text(self) -> str:
        before = self._decode(self.ids[self.begin : self.shown])
        return self._decode(self.ids[self.begin :])[len(before) :]

    def _decode(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)


def generate(
    model: Any,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    settings: ChatSettings,
    kept: Kept,
    piece: Callable[[str], None],
    is_stopped: Callable[[], bool],
) -> Answered:
    """Answer a prompt, passing on the text as it comes. Raises FinetopError for NaN, BadInput for a long prompt."""
    import torch

    room = require_room(model, tokenizer, len(prompt))
    most, ends, began = min(settings.max_new_tokens, room), end_tokens(model, tokenizer), time.monotonic()
    decoder, tokens, first_s = Decoder(tokenizer), 0, 0.0
    was_stopped = has_ended = False

    def take(ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        nonlocal tokens, first_s, was_stopped, has_ended
        if was_stopped or has_ended:  # on Apple's GPU `generate` decides a step late, and drops that token
            return torch.ones(1, dtype=torch.bool, device=ids.device)
        token, tokens = int(ids[0, -1]), tokens + 1
        if tokens == 1:
            first_s = time.monotonic() - began
        has_ended = token in ends
        if not has_ended:
            piece(decoder.push(token))
        was_stopped = not has_ended and is_stopped()
        return torch.full((1,), was_stopped, dtype=torch.bool, device=ids.device)

    def require_numbers(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if bool(torch.isnan(scores).any()):
            message = f"the model's output is NaN at token {tokens + 1} of the answer"
            raise FinetopError(f"{message}.", hint="Pick an earlier checkpoint, or dtype float32.")
        return scores

    if is_stopped():
        return Answered("stopped", 0, 0.0, len(prompt))
    ids = torch.tensor([list(prompt)], device=model.device)
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    cache = cache_for(model, kept, prompt)
    if cache is not None:
        given["cache"] = cache
    torch.manual_seed(settings.seed)
    try:
        written = model.generate(
            **given,
            generation_config=generation_config(settings, most, tokenizer.pad_token_id, ends),
            logits_processor=[require_numbers],
            stopping_criteria=[take],
        )
    except BaseException:
        kept.cache, kept.ids = None, []
        raise
    if cache is not None:
        kept.cache, kept.ids = cache, written[0, : cache.get_seq_length()].tolist()
    piece(decoder.rest())
    return Answered(
        "end" if has_ended else "stopped" if was_stopped else "length", tokens, first_s, len(prompt)
    )


def require_room(model: Any, tokenizer: Tokenizer, prompt: int) -> int:
    """Return how many tokens fit behind a prompt. Raises BadInput if none does."""
    longest = longest_input(model.config, tokenizer)
    if prompt >= longest:
        message = f"the conversation has {prompt:,} tokens, and the model reads at most {longest:,}"
        raise BadInput(f"{message}.", hint="Begin a new one.")
    return longest - prompt


def generation_config(settings: ChatSettings, most: int, pad: int | None, ends: Sequence[int]) -> Any:
    """Return transformers' settings; what they leave out, such as a repetition penalty, is the model's own."""
    from transformers import GenerationConfig

    common: dict[str, Any] = {"max_new_tokens": most, "pad_token_id": pad, "eos_token_id": list(ends)}
    if settings.temperature == 0:
        return GenerationConfig(do_sample=False, **common)
    how = {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
    return GenerationConfig(do_sample=True, **how, **common)


def cache_for(model: Any, kept: Kept, prompt: Sequence[int]) -> Any:
    """Return a cache with what the conversation shares with the prompt; None where `generate` makes its own."""
    from transformers import DynamicCache

    own = getattr(model.generation_config, "cache_implementation", None)
    if not keeps_cache(model) or cache_argument(model) != "cache" or own is not None:
        return None
    if not model._supports_default_dynamic_cache():  # noqa: SLF001  # no public name
        return None
    shared = 0
    for known, token in zip(kept.ids, prompt[:-1], strict=False):
        if known != token:
            break
        shared += 1
    if kept.cache is not None and shared and (shared == len(kept.ids) or can_crop(kept.cache)):
        if shared < len(kept.ids):
            kept.cache.crop(shared - len(kept.ids))  # a negative number of tokens to remove
        return kept.cache
    return DynamicCache(config=model.config.get_text_config())


def can_crop(cache: Any) -> bool:
    """Return whether a cache holds keys and values alone, all of them: no window, no state."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)
