"""Which metrics of a run matter most, how each is named and formatted, and where its drift is heading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.protocol.messages.runs import Curve

# Metrics of the machine.
SYSTEM = ("gpu_util", "memory_gib", "tokens_per_s", "gpu_watts", "energy_wh", "gpu_celsius", "host_gib")


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
