"""QLoRA: an adapter on weights that are held in 4 bits (arXiv:2305.14314)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from finetop.core.approaches._adapter import NO_ROWS, adapter

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe

ABOUT = "LoRA on a base in 4 bits: a quarter of the memory"
TRAINS = True
UPDATES = "train"


def settings(recipe: Recipe) -> dict[str, Any] | str:
    """Train an adapter on weights in 4 bits."""
    if find_spec("bitsandbytes") is None:
        return "bitsandbytes, needed for 4-bit weights, is not installed"
    return {**adapter(recipe, "nf4"), "ask.documents": []} if recipe.data.train else NO_ROWS
