"""Full tuning: trains every weight on the training rows."""

from __future__ import annotations

from finetop.core.features.approaches.adapter import NO_ROWS, full
from finetop.core.features.approaches.approaches import Approach, Settings
from finetop.core.recipe.schema import Recipe


class Full(Approach):
    about = "trains every weight on the training rows"

    def settings(self, recipe: Recipe) -> Settings:
        return {**full(recipe), "ask.documents": []} if recipe.data.train else NO_ROWS


PLUGIN = Full()
