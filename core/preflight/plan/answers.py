"""What writing the answers that a run learns from holds: by which engine, in bytes (core/models/engine.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.models.continuous import has_flash
from finetop.core.models.engine import CACHE_PER_TOKEN, VLLM_BYTES, at_once

if TYPE_CHECKING:
    from finetop.core.preflight.plan.shape import Shape
    from finetop.core.recipe.schema import EngineChoice, Recipe


def engine_of(recipe: Recipe, *, on_gpu: bool) -> EngineChoice:
    """Say what writes them; ppo has a loop of its own."""
    wanted = recipe.model.engine
    if recipe.objective.name == "ppo":
        return "exact"
    if wanted == "auto":
        return "continuous" if on_gpu and has_flash() else "exact"
    return wanted


def held(
    engine: EngineChoice, recipe: Recipe, shape: Shape, sequence: int, size: float, *, on_gpu: bool
) -> float:
    """Count keys and values while a step's answers are written side by side, before anything is learned.

    `exact` writes all of them at once, `continuous` as many as its room takes; ppo writes a batch at a time.
    """
    if engine == "vllm" or recipe.objective.name == "ppo":
        return 0.0
    rows = recipe.train.batch_size * recipe.train.grad_accumulation
    needed = rows * sequence * 2.0 * shape.layers * shape.key_width * size
    room = at_once("cuda" if on_gpu else "cpu") * CACHE_PER_TOKEN
    return needed if engine == "exact" else min(needed, room)


def beside(engine: EngineChoice, shape: Shape, size: float) -> float:
    """Count what an engine has of its own all the time: vLLM's copy of the weights, its cache and its workspaces."""
    if engine != "vllm":
        return 0.0
    return shape.parameters * size + at_once("cuda") * CACHE_PER_TOKEN + VLLM_BYTES
