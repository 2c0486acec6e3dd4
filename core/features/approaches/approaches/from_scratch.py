"""From scratch: a small new model trained on the same rows and nothing else, for scale."""

from __future__ import annotations

from finetop.core.features.approaches.adapter import NO_ROWS
from finetop.core.features.approaches.approaches import Approach, Settings
from finetop.core.recipe.schema import Recipe


class FromScratch(Approach):
    about = "a small new model trained on these rows alone, for comparison"
    updates = ""

    def settings(self, recipe: Recipe) -> Settings:
        """Train a new model of the base's architecture, with its tokenizer, so that nats/token are comparable."""
        if not recipe.data.train:
            return NO_ROWS
        return {
            "ask.documents": [],
            "model.quantize": "none",
            "model.dtype": "float32",
            "method": {"name": "full"},
            "objective": {"name": "pretrain", "tokenizer": "reuse"},
            "train.learning_rate": 1e-3,
            "check.general": None,  # there is no base to compare with
            "check.every": None,
            "check.on_fail": "flag",
            "check.at_end": False,
            "drift.every": None,
            "protect": {},
            "samples.count": 0,
        }


PLUGIN = FromScratch()
