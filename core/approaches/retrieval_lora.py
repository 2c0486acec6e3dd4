"""Retrieval and LoRA: an adapter learns to answer with passages before the question (arXiv:2403.10131)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetop.core.approaches._adapter import NO_ROWS, adapter
from finetop.core.approaches.retrieval import NO_DOCUMENTS

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe

ABOUT = "trains an adapter to answer from retrieved passages"
TRAINS = True
UPDATES = "index"  # its documents grow; the adapter stays as it is


def settings(recipe: Recipe) -> dict[str, Any] | str:
    """Train an adapter on rows with their passages."""
    if not recipe.ask.documents:
        return NO_DOCUMENTS
    return adapter(recipe, "none") if recipe.data.train else NO_ROWS
