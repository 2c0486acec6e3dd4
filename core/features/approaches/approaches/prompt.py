"""Prompt: the base model with the recipe's system message and nothing else."""

from __future__ import annotations

from finetop.core.features.approaches.approaches import Approach, Settings
from finetop.core.recipe.schema import Recipe


class Prompt(Approach):
    about = "the base model with the system message alone"
    trains = False
    updates = ""

    def settings(self, recipe: Recipe) -> Settings:
        return {"ask.shots": 0, "ask.documents": [], "data": {}}


PLUGIN = Prompt()
