"""Retrieval: passages of the documents that fit the question stand before it (arXiv:2005.11401, without training)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe

ABOUT = "puts the documents' best passages before each question"
TRAINS = False
UPDATES = "index"
NO_DOCUMENTS = "ask.documents names nothing to retrieve from"


def settings(recipe: Recipe) -> dict[str, Any] | str:
    """Keep the documents, and leave examples out."""
    return {"ask.shots": 0, "data": {}} if recipe.ask.documents else NO_DOCUMENTS
