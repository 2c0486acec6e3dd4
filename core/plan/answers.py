"""What writing the answers that a run learns from needs: the engine, and its bytes (core/models/engine.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.models import vllm
from finetop.core.models.continuous import PAGE, bytes_held, has_flash, pages_kept
from finetop.core.models.engine import CACHE_PER_TOKEN, at_once, tokens_in_room, writes_with_flash

if TYPE_CHECKING:
    from finetop.core.models.shape import Shape
    from finetop.core.recipe.schema import EngineChoice, Recipe


def engine_of(recipe: Recipe, *, on_gpu: bool, flash: bool) -> EngineChoice:
    """Return the engine that writes them; ppo has its own loop. `flash`: flash-attn's kernels run on the card."""
    wanted = recipe.model.engine
    if recipe.objective.name == "ppo":
        return "exact"
    if wanted == "auto":
        return "continuous" if on_gpu and flash and has_flash() else "exact"
    return wanted


def held(
    engine: EngineChoice,
    recipe: Recipe,
    shape: Shape,
    sequence: int,
    size: float,
    *,
    on_gpu: bool,
    flash: bool,
) -> float:
    """Return the bytes held while a step's answers are written side by side, before anything is learned.

    `exact` writes all of them at once, `continuous` as many as fit, with a mask for everything it reads; ppo writes one
    batch at a time.
    """
    if engine == "vllm" or recipe.objective.name == "ppo":
        return 0.0
    rows = recipe.train.batch_size * recipe.train.grad_accumulation
    token = 2.0 * shape.layers * shape.key_width * size
    if engine == "exact":
        return rows * sequence * token
    read = at_once("cuda" if on_gpu else "cpu")
    pages = pages_kept([-(-sequence // PAGE)] * rows, tokens_in_room(int(token), read))
    is_flash = writes_with_flash(flash=flash, in_float32=size == 4)
    return bytes_held(pages, read, shape.kinds, token, size, flash=is_flash)


def beside(recipe: Recipe, engine: EngineChoice, weights: float) -> float:
    """Return what vLLM holds throughout, beside weights of this many bytes: in training, and in checks during it."""
    checks = recipe.model.engine == "vllm" and recipe.check.every is not None
    return (int(engine == "vllm") + int(checks)) * copy_of(weights)


def copy_of(weights: float) -> float:
    """Return the bytes of a model's copy in vLLM: weights, its cache and its workspaces."""
    return weights + at_once("cuda") * CACHE_PER_TOKEN + vllm.BYTES
