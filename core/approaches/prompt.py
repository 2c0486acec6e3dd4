"""Prompt: the base model as it is, with the recipe's system turn and nothing else."""

from __future__ import annotations

from typing import Any

from finetop.core.approaches import Approach
from finetop.core.recipe.schema import Recipe


class Prompt(Approach):
    about = "the base model with the system message alone"
    trains = False
    updates = ""

    def settings(self, recipe: Recipe) -> dict[str, Any] | str:
        """Leave examples and documents out."""
        return {"ask.shots": 0, "ask.documents": [], "data": {}}


PLUGIN = Prompt()
