"""Retrieval: the best passages of the documents before each question (arXiv:2005.11401, without training)."""

from __future__ import annotations

from finetop.core.features.approaches.approaches import Approach, Settings
from finetop.core.recipe.schema import Recipe

NO_DOCUMENTS = "ask.documents names nothing to retrieve from"


class Retrieval(Approach):
    about = "puts the documents' best passages before each question"
    trains = False
    updates = "index"

    def settings(self, recipe: Recipe) -> Settings:
        return {"ask.shots": 0, "data": {}} if recipe.ask.documents else NO_DOCUMENTS


PLUGIN = Retrieval()
