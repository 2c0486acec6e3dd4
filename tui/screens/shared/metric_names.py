"""Which metrics of a run matter most, how each is named and formatted, and where its drift is heading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.protocol.messages.runs import Curve
from finetop.core.protocol.runs import RunRow
from finetop.core.text import count, number_words
from finetop.core.wording.units import metric_words
from finetop.tui.text import decimals, value

# In order of importance: the first are drawn as charts, the next as a number and a sparkline.
TITLES = {
    "reward": "reward",  # of a run trained by rewards, whose loss says little
    "loss": "loss",
    "drift": "drift",
    "grad_norm": "grad norm",
    "tokens_per_s": "tokens/s",
    "learning_rate": "rate",
    "kl": "KL to start",
    "token_accuracy": "accuracy",
    "memory_gib": "memory",
    "entropy": "entropy",
    "gpu_util": "GPU busy",
    "gpu_watts": "power",
    "gpu_celsius": "temperature",
    "host_gib": "host memory",
    "energy_wh": "energy",
}
# Metrics of the machine.
SYSTEM = ("gpu_util", "memory_gib", "tokens_per_s", "gpu_watts", "energy_wh", "gpu_celsius", "host_gib")
_WITH_OTHERS = ("eval_loss", "epoch", "tokens")  # drawn with the loss, or implied by the step


def metric_keys(row: RunRow) -> list[str]:
    """List a run's metrics, the most telling first."""
    known = [key for key in TITLES if key in row.metrics or (key == "loss" and "eval_loss" in row.metrics)]
    return known + sorted(key for key in row.metrics if key not in TITLES and key not in _WITH_OTHERS)


def title_of(key: str) -> str:
    """Return a metric's name in a word or two."""
    return TITLES.get(key) or metric_words(key)


def drift_limit(recipe: Mapping[str, Any]) -> float | None:
    """Return a recipe's drift limit in nats/token, or None."""
    drift = recipe.get("drift")
    limit = drift.get("limit") if isinstance(drift, dict) else None
    return float(limit) if isinstance(limit, int | float) else None


def shown(key: str, number: float | None) -> str:
    """Format a metric's value."""
    if number is None:
        return "not finite"
    if abs(number) < 5e-9:
        return "0"
    match key:
        case "drift" | "kl" if abs(number) < 0.0005:
            return "0.00"
        case "drift" | "kl":
            return decimals(number, 2 if abs(number) >= 0.01 else 3)
        case "tokens_per_s":
            return count(round(number)) if number >= 100 else f"{number:.1f}"
        case "gpu_watts":
            return f"{number:.0f} W"
        case "energy_wh":
            return f"{number / 1000:.2f} kWh" if number >= 1000 else f"{number:.0f} Wh"
        case "gpu_celsius":
            return f"{number:.0f} C"
        case "memory_gib" | "host_gib":
            return f"{number:.1f} GiB"
        case "gpu_util":
            return f"{number:.0f} %"
        case "learning_rate":
            return number_words(number, 2)
    return value(number)


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
