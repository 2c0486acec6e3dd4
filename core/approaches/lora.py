"""LoRA, or the recipe's own adapter: few weights learn the training rows, nothing is looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.approaches._adapter import NO_ROWS, adapter

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe

ABOUT = "trains low-rank adapters on the training rows; the model is frozen"
TRAINS = True
UPDATES = "train"


def settings(recipe: Recipe) -> dict[str, Any] | str:
    """Train an adapter on whole weights."""
    return {**adapter(recipe, "none"), "ask.documents": []} if recipe.data.train else NO_ROWS
