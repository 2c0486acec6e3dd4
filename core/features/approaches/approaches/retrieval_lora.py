"""Retrieval and LoRA: an adapter learns to answer from passages before the question (arXiv:2403.10131)."""

from __future__ import annotations

from finetop.core.features.approaches.adapter import NO_ROWS, adapter
from finetop.core.features.approaches.approaches import Approach, Settings
from finetop.core.features.approaches.approaches.retrieval import NO_DOCUMENTS
from finetop.core.recipe.schema import Recipe


class RetrievalLora(Approach):
    about = "trains an adapter to answer from retrieved passages"
    updates = "index"  # its documents grow; the adapter is unchanged

    def settings(self, recipe: Recipe) -> Settings:
        if not recipe.ask.documents:
            return NO_DOCUMENTS
        return adapter(recipe, "none") if recipe.data.train else NO_ROWS


PLUGIN = RetrievalLora()
