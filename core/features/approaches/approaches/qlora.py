"""QLoRA: an adapter on a base in 4 bits (arXiv:2305.14314)."""

from __future__ import annotations

from importlib.util import find_spec

from finetop.core.features.approaches.adapter import NO_ROWS, adapter
from finetop.core.features.approaches.approaches import Approach, Settings
from finetop.core.recipe.schema import Recipe


class Qlora(Approach):
    about = "LoRA on a base in 4 bits: a quarter of the memory"

    def settings(self, recipe: Recipe) -> Settings:
        if find_spec("bitsandbytes") is None:
            return "bitsandbytes, needed for 4-bit weights, is not installed"
        return {**adapter(recipe, "nf4"), "ask.documents": []} if recipe.data.train else NO_ROWS


PLUGIN = Qlora()
