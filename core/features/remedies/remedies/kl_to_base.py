"""Retrain with a KL penalty to the base on general text: see core/train/protections/kl_to_base.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.features.remedies.remedies import Retraining

WEIGHT = 1.0


class KlToBase(Retraining):
    about = "KL to the base, weight 1"

    def settings(self, recipe: Mapping[str, Any]) -> Mapping[str, Any] | str:
        """Turn it on; if it is on, triple its weight."""
        now = float((recipe.get("protect", {}).get("kl_to_base") or {}).get("weight", 0.0))
        return {"protect.kl_to_base.weight": 3 * now or WEIGHT}


PLUGIN = KlToBase()
