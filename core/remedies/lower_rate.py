"""Train again at a third of the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ABOUT = "learning rate / 3"


def settings(recipe: Mapping[str, Any]) -> Mapping[str, Any] | str:
    """Change the rate alone."""
    return {"train.learning_rate": float(f"{float(recipe['train']['learning_rate']) / 3:.2g}")}
