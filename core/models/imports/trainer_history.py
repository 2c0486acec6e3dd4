"""A trainer's history: the log of its trainer_state.json as metrics of ours, so that its curves show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.models.imports.inspect import read_json
from finetop.core.protocol.metric_names import METRICS, NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class History:
    """What a trainer wrote down: planned steps and epochs (0: it does not say), and values by step, in order."""

    steps: int = 0
    epochs: float = 0.0
    values: tuple[tuple[int, dict[str, float]], ...] = ()


def read_history(file: Path | None) -> History:
    """Read trainer_state.json; lines that are none of a log are left out. Raises BadInput for what is no JSON."""
    if file is None:
        return History()
    read = read_json(file)
    log = read.get("log_history")
    by_step: dict[int, dict[str, float]] = {}
    for step, values in _lines(log if isinstance(log, list) else []):
        by_step.setdefault(step, {}).update(values)
    return History(
        steps=int(_number(read.get("max_steps")) or 0),
        epochs=_number(read.get("num_train_epochs")) or 0.0,
        values=tuple(sorted(by_step.items())),
    )


def _lines(log: list[Any]) -> Iterator[tuple[int, dict[str, float]]]:
    for line in log:
        step = _number(line.get("step")) if isinstance(line, dict) else None
        if step is None or not 0 <= step < 2**31:
            continue
        named = {NAMES.get(key, key): _number(value) for key, value in line.items()}
        values = {key: value for key, value in named.items() if key in METRICS and value is not None}
        if values.keys() - {"epoch"}:
            yield int(step), values


def _number(value: object) -> float | None:
    """Take a number, infinities and NaN too; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
