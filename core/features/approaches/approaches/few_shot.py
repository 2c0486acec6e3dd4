"""Few-shot: examples of the training rows before each question (arXiv:2005.14165)."""

from __future__ import annotations

from finetop.core.features.approaches.adapter import NO_ROWS
from finetop.core.features.approaches.approaches import Approach, Settings
from finetop.core.recipe.schema import Recipe

SHOTS = 4  # if ask.shots is 0


class FewShot(Approach):
    about = "puts examples from the training rows before each question"
    trains = False
    updates = "index"  # the nearest examples are picked from rows that then include the new ones

    def settings(self, recipe: Recipe) -> Settings:
        """Add examples before the question, without documents."""
        if not recipe.data.train:
            return NO_ROWS.replace("learn from", "take examples from")
        return {"ask.shots": recipe.ask.shots or SHOTS, "ask.documents": []}


PLUGIN = FewShot()
