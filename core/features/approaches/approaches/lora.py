"""LoRA, or the recipe's own adapter: few weights learn the training rows, without retrieval."""

from __future__ import annotations

from finetop.core.features.approaches.adapter import NO_ROWS, adapter
from finetop.core.features.approaches.approaches import Approach, Settings
from finetop.core.recipe.schema import Recipe


class Lora(Approach):
    about = "trains low-rank adapters on the training rows; the model is frozen"

    def settings(self, recipe: Recipe) -> Settings:
        return {**adapter(recipe, "none"), "ask.documents": []} if recipe.data.train else NO_ROWS


PLUGIN = Lora()
