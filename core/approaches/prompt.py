"""Prompt: the base model as it is, with the recipe's system turn and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe

ABOUT = "the base model with the system message alone"
TRAINS = False
UPDATES = ""


def settings(recipe: Recipe) -> dict[str, Any] | str:
    """Leave examples and documents out."""
    return {"ask.shots": 0, "ask.documents": [], "data": {}}
