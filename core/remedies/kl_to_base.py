"""Train again held to what the base says of general text: see core/train/protections/kl_to_base.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ABOUT = "KL to the base, weight 1"
WEIGHT = 1.0


def settings(recipe: Mapping[str, Any]) -> Mapping[str, Any] | str:
    """Turn it on; where it was, three times as strong."""
    now = float((recipe.get("protect", {}).get("kl_to_base") or {}).get("weight", 0.0))
    return {"protect.kl_to_base.weight": 3 * now or WEIGHT}
