"""What generates answers, for checks, samples and training alike: the engines, what each supports, and its memory.

`exact` is the check's original loop, and transformers' `generate` in training; `continuous` lets an answer that ends
make room for the next; `vllm` is a copy in vLLM (core/models/vllm.py), in training TRL's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal

from finetop.core.errors import BadInput
from finetop.core.models import attention, continuous, devices
from finetop.core.models.forward import cache_bytes, contiguous_at_head

if TYPE_CHECKING:
    from finetop.core.recipe.schema import EngineChoice

# Part of a score's identity, except exact: flash-attn changes the last digits again.
Engine = Literal["exact", "continuous", "continuous-flash", "vllm"]

READ_AT_ONCE = {"cpu": 512}  # tokens; more hardly speeds a CPU up
READ_AT_ONCE_GPU = 4096
# Bytes of keys and values for each token that is read at once: 4 GiB for 4,096 tokens.
CACHE_PER_TOKEN = 1 << 20
HELD_PER_TOKEN = 16  # tokens: generated answers need far less memory per token than scored ones


def at_once(device: str) -> int:
    """Return how many tokens a device reads at once."""
    return READ_AT_ONCE.get(device.split(":")[0], READ_AT_ONCE_GPU)


def filled(device: str) -> int:
    """Return how many tokens a batch should have to use a device fully; 0 if small batches are as fast."""
    return 0 if device.split(":")[0] in READ_AT_ONCE else READ_AT_ONCE_GPU


def tokens_held(model: Any, read_at_once: int) -> int:
    """Return how many tokens of prompts and answers are kept at once, from the bytes of a model's cache per token."""
    return tokens_in_room(cache_bytes(model), read_at_once)


def tokens_in_room(bytes_of_token: int, read_at_once: int) -> int:
    """Return the same for a model whose cache takes `bytes_of_token` per token."""
    room = read_at_once * CACHE_PER_TOKEN // max(1, bytes_of_token)
    return min(read_at_once * HELD_PER_TOKEN, room)


def engine_for(
    wanted: EngineChoice,
    device: str,
    dtype: str,
    config: Any,
    *,
    learned_tokens: bool = False,
    copies: bool = False,
) -> Engine:
    """Return the engine for the answers of a model with this configuration. Raises BadInput.

    `auto` is continuous on a GPU with flash-attn, if the model supports it. Without `copies`, vllm means auto.
    """
    tokens = "virtual tokens before each prompt" if learned_tokens else ""
    if wanted == "vllm" and copies:
        if tokens:
            raise _refusal(wanted, tokens)
        return "vllm"
    flash = device.startswith("cuda") and devices.has_bfloat16(device)
    is_flash = writes_with_flash(flash=flash, in_float32=dtype == "float32")
    if wanted == "exact" or (wanted != "continuous" and not is_flash):
        return "exact"
    fault = tokens or _fault_of(config)
    if not fault:
        return "continuous-flash" if is_flash else "continuous"
    if wanted == "continuous":
        raise _refusal(wanted, fault)
    return "exact"


def writes_with_flash(*, flash: bool, in_float32: bool) -> bool:
    """Return whether continuous batching uses flash-attn, which needs no mask; `flash`: the GPU runs its kernels."""
    return flash and not in_float32 and continuous.has_flash()


def _refusal(wanted: EngineChoice, fault: str) -> BadInput:
    message = f"model.engine: {wanted} does not work with {fault}."
    return BadInput(message, hint="Set model.engine to exact.")


def _fault_of(config: Any) -> str:
    """Return what of a model continuous batching does not support; empty if it supports all."""
    from transformers import AutoModelForCausalLM

    model_class = AutoModelForCausalLM._model_mapping.get(type(config), None)  # noqa: SLF001  # no public name
    if model_class is None or not (model_class._supports_attention_backend and model_class._supports_sdpa):  # noqa: SLF001  # no public name
        return "the code of this model"
    text = config.get_text_config()
    if model_class._is_stateful or set(getattr(text, "layer_types", None) or ()) - {  # noqa: SLF001  # no public name
        "full_attention",
        "sliding_attention",
    }:
        return "layers with a state instead of keys and values"
    return "keys and values of two widths" if getattr(text, "kv_lora_rank", None) else ""


def write(
    model: Any,
    prompts: Sequence[Sequence[int]],
    config: Any,
    engine: Engine,
    counted: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Generate an answer to each prompt, as a GenerationConfig says, up to and including its end.

    `counted` is called at each token with the number so far, if all answers are one batch (exact).
    """
    with attention.beside_training(model):
        if engine == "exact":
            return _write_padded(model, prompts, config, counted)
        return _write_continuously(model, prompts, config, engine)


def _write_continuously(
    model: Any, prompts: Sequence[Sequence[int]], config: Any, engine: Engine
) -> list[list[int]]:
    config = deepcopy(config)
    if (config.min_new_tokens or 0) >= config.max_new_tokens:  # every answer has the maximum length
        config.eos_token_id = -1
    config.min_new_tokens = None
    read = at_once(str(model.device))
    requests = [continuous.GenerationRequest(prompt, config.max_new_tokens) for prompt in prompts]
    held, flash = tokens_held(model, read), engine == "continuous-flash"
    return continuous.write(model, requests, config, held=held, at_once=read, flash=flash)


def _write_padded(
    model: Any, prompts: Sequence[Sequence[int]], config: Any, counted: Callable[[int], None] | None
) -> list[list[int]]:
    """Generate all answers in one batch, prompts padded on the left."""
    import torch

    def count(ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        if counted is not None:
            counted(ids.shape[1] - width)
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)  # never stops generation

    width = max(map(len, prompts))
    padding, config.use_cache = config.pad_token_id, True
    ids = torch.tensor([[padding] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    given = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
    with contiguous_at_head(model):
        written = model.generate(**given, generation_config=config, stopping_criteria=[count])
    ends = config.eos_token_id
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    return [cut(row, ends) for row in written[:, width:].tolist()]


def cut(tokens: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Cut an answer after its first end token."""
    stop = next((place for place, token in enumerate(tokens) if token in ends), len(tokens) - 1)
    return list(tokens[: stop + 1])
