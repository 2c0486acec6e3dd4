"""How far a run may drift from its base, and when it will have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.protocol.messages.runs import Curve


def drift_limit(recipe: Mapping[str, Any]) -> float | None:
    """Return a recipe's drift limit in nats/token, or None."""
    drift = recipe.get("drift")
    limit = drift.get("limit") if isinstance(drift, dict) else None
    return float(limit) if isinstance(limit, int | float) else None


def drift_forecast(curve: Curve, limit: float, first: int, last: int, columns: int) -> int | None:
    """Predict the step at which drift reaches its limit, at its last half's pace; None if too early or past the end."""
    if len(curve.mean) < 3 or not limit / 2 <= curve.mean[-1] < limit or columns < 1:
        return None
    half, per_column = len(curve.mean) // 2, (last - first) / columns
    steps = (curve.column[-1] - curve.column[half - 1]) * per_column
    rise = (curve.mean[-1] - curve.mean[half - 1]) / max(1.0, steps)
    if rise <= 0:
        return None
    reached = first + curve.column[-1] * per_column + (limit - curve.mean[-1]) / rise
    return round(reached) if reached < last else None
