"""A run's metrics in words: their names, and their values with units."""

from __future__ import annotations

from finetop.core.protocol.runs import RunRow
from finetop.core.text import count, number_words
from finetop.core.wording.units import decimals, metric_words, value

# In order of importance: the first are drawn as charts, the next as a number and a sparkline.
TITLES = {
    "reward": "reward",  # of a run trained by rewards, whose loss says little
    "loss": "loss",
    "drift": "drift",
    "grad_norm": "grad norm",
    "tokens_per_s": "tokens/s",
    "learning_rate": "learning rate",
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
_TIGHT = {"learning_rate": "lr"}
_WITH_OTHERS = ("eval_loss", "epoch", "tokens")  # drawn with the loss, or implied by the step
_OF_THE_JOB = ("attempt",)  # about the job that trains, not about the model


def metric_keys(row: RunRow) -> list[str]:
    """List a run's metrics, the most telling first."""
    known = [key for key in TITLES if key in row.metrics or (key == "loss" and "eval_loss" in row.metrics)]
    return known + sorted(key for key in row.metrics if key not in TITLES and key not in _WITH_OTHERS)


def last_words(row: RunRow) -> str:
    """Return a run's last metrics on a line: 'loss 1.203, eval loss 1.311, GPU busy 95 %, 614,400 tokens'."""
    keys = [key for key in metric_keys(row) if key in row.metrics]
    if "eval_loss" in row.metrics:
        keys.insert(keys.index("loss") + 1 if "loss" in keys else 0, "eval_loss")
    parts = [f"{title_of(key)} {shown(key, row.metrics[key])}" for key in keys if key not in _OF_THE_JOB]
    tokens = row.metrics.get("tokens")
    if tokens is not None:
        parts.append(f"{count(round(tokens))} tokens")
    return ", ".join(parts)


def title_of(key: str, *, is_tight: bool = False) -> str:
    """Return a metric's name in a word or two; where there is little room, its usual abbreviation."""
    if is_tight and key in _TIGHT:
        return _TIGHT[key]
    return TITLES.get(key) or metric_words(key)


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
