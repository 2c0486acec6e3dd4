"""How a causal language model of transformers is called: its arguments, our own masks, its cache and its limits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase as Tokenizer

LENGTHS = ("n_positions", "max_position_embeddings", "n_ctx", "max_sequence_length")
USUAL_LENGTH = 2048  # tokens, if a model's configuration has no limit
WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")
ROPE_BY_LENGTH = ("dynamic", "longrope")  # their angles change with the longest position of a batch


def takes(model: Any, argument: str) -> bool:
    """Return whether a model's forward has an argument of this name, looking under its adapter if it has one."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return argument in _arguments(type(inner).forward)


@lru_cache
def _arguments(forward: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)  # 0.1 ms, else spent on every token generated


def end_tokens(model: Any, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that end an answer: the model's and the tokenizer's."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    known = own if isinstance(own, list) else [own]
    return sorted({int(token) for token in (*known, tokenizer.eos_token_id) if token is not None})


def cache_argument(model: Any) -> str:
    """Return the name of the cache's argument and output; code of a model may have that of transformers before 5.24."""
    return "cache" if takes(model, "cache") else "past_key_values"


def keeps_cache(model: Any) -> bool:
    """Return whether a model continues from what it read: with a known cache, and no virtual tokens before inputs."""
    known = takes(model, "cache") or takes(model, "past_key_values")
    return known and not has_virtual_tokens(model)


def has_virtual_tokens(model: Any) -> bool:
    """Return whether an adapter puts virtual tokens before each input, as prompt tuning does."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def logits_at(model: Any, ids: Tensor, kept: Tensor, cache: Any = None, **inputs: Any) -> Tensor:
    """Return the logits [batch, kept, vocabulary] of ids [batch, tokens] at kept [positions], only these if it can."""
    if cache is not None:
        inputs[cache_argument(model)] = cache
    if takes(model, "logits_to_keep") and not has_virtual_tokens(model):
        out = model(input_ids=ids, logits_to_keep=kept, use_cache=cache is not None, **inputs)
        logits: Tensor = out.logits
        return logits
    logits = model(input_ids=ids, use_cache=cache is not None, **inputs).logits
    return logits[:, -ids.shape[1] :][:, kept]


def cache_bytes(model: Any) -> int:
    """Return the bytes that the key/value cache takes per token of one text, over all layers."""
    config = model.config.get_text_config()
    layers, hidden = int(config.num_hidden_layers), int(config.hidden_size)
    heads = int(getattr(config, "num_attention_heads", None) or 1)
    width = int(getattr(config, "head_dim", None) or hidden // heads)
    kept = int(getattr(config, "num_key_value_heads", None) or heads)
    size = model.dtype.itemsize if hasattr(model, "dtype") else 2
    return 2 * layers * kept * width * int(size)


def spread(cache: Any, rows: int) -> Any:
    """Expand a cache of one row to several, sharing keys and values; recurrent states are repeated."""
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None or hasattr(layer, "conv_states"):
            layer.batch_repeat_interleave(rows)
        elif keys.numel():
            layer.keys, layer.values = (held.expand(rows, *held.shape[1:]) for held in (keys, values))
    return cache


def read_on(
    model: Any, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: Any
) -> tuple[Tensor, Any]:
    """Read tokens [batch, tokens] after a cache (None: from the start).

    Returns the logits [batch, vocabulary] after the last token, and the cache with all of them. `mask`
    [batch, cached + tokens] is 0 at padding.
    """
    name = cache_argument(model)
    last = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}
    if mask is not None and cache is not None and all(getattr(cache, "is_linear", [False])):
        mask = mask[:, -ids.shape[1] :]  # a recurrent state has no positions to mask
    more = {name: cache, **last}
    with contiguous_at_head(model):
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, **more)
    return out.logits[:, -1], getattr(out, name)


@contextmanager
def contiguous_at_head(model: Any) -> Iterator[None]:
    """Copy what the output embeddings get, if it is a slice: the last position of each row.

    PyTorch may multiply such a slice row by row, each with a copy of the weights: where they need no gradient, as below
    an adapter, that took 5 GiB and 6 s for 96 rows of a 135M model on a CPU. The product is equal to the bit.
    """
    head = model.get_output_embeddings()
    if head is None:
        yield
        return
    hook = head.register_forward_pre_hook(lambda _, given: (given[0].contiguous(), *given[1:]))
    try:
        yield
    finally:
        hook.remove()


def mask_for(model: Any, visible: Tensor) -> Tensor:
    """Turn [rows, tokens, seen] into the 4-d mask that a model passes to its attention unchanged.

    PyTorch's attention takes booleans whatever the number format (with quantized weights or float32 norms the format
    there need not be the model's own); all others add the mask to their scores.
    """
    import torch

    if getattr(model.config.get_text_config(), "_attn_implementation", None) == "sdpa":
        return visible[:, None]
    dtype = model.dtype if model.dtype.is_floating_point else torch.float32
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]


def longest_input(model_config: Any, tokenizer: Any = None) -> int:
    """Return the longest input of a model in tokens, determined as the harness does."""
    config = model_config.get_text_config()
    known = [getattr(config, name, None) for name in LENGTHS]
    if tokenizer is not None and tokenizer.model_max_length < 10**9:
        known.append(tokenizer.model_max_length)
    return next((length for length in known if isinstance(length, int) and length > 0), USUAL_LENGTH)


def longest_packed(model_config: Any) -> int:
    """Return the length up to which a sequence gives the same result after any of our masks.

    Our masks do not include attention windows, and angles that depend on the longest position would depend on
    neighbouring texts.
    """
    config = model_config.get_text_config()
    limits = [getattr(config, name, None) for name in WINDOWS]
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in ROPE_BY_LENGTH:
        limits += [rope.get("original_max_position_embeddings"), longest_input(config)]
    return min([limit for limit in limits if isinstance(limit, int) and limit > 0], default=10**9)
