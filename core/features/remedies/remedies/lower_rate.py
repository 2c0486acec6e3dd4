"""Retrain at a third of the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.features.remedies.remedies import Retraining


class LowerRate(Retraining):
    about = "learning rate / 3"

    def settings(self, recipe: Mapping[str, Any]) -> Mapping[str, Any] | str:
        return {"train.learning_rate": float(f"{float(recipe['train']['learning_rate']) / 3:.2g}")}


PLUGIN = LowerRate()
