"""Full tuning: trains every weight on the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.approaches._adapter import NO_ROWS, full

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe

ABOUT = "trains every weight on the training rows"
TRAINS = True
UPDATES = "train"


def settings(recipe: Recipe) -> dict[str, Any] | str:
    """Train all weights."""
    return {**full(recipe), "ask.documents": []} if recipe.data.train else NO_ROWS
