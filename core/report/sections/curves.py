"""The main curves (reward, loss, drift), and the last value of each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

from finetop.core.protocol.messages.runs import Curve
from finetop.core.report import Block, Chart, Line, Table
from finetop.core.report.load import COLUMNS, RunFacts
from finetop.core.wording.sparkline import sparkline

TITLE = "Curves"
SPARK = 40  # blocks of a sparkline
FEW_POINTS = 30  # points of a curve below which each is drawn
_OVER = {"drift": ("kl",), "loss": ("eval_loss",)}  # curves drawn in another's chart


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    """Return the charts of reward, loss and drift, and the last value of every metric."""
    curves = facts.curves
    blocks_found: list[Block] = []
    for key, title in (("reward", "Reward"), ("loss", "Loss"), ("drift", "Drift, nats/token")):
        lines = [
            line_of(curves[curve_key], 0, facts.last, COLUMNS)
            for curve_key in (key, *_OVER.get(key, ()))
            if curve_key in curves
        ]
        lines = [line for line in lines if line.steps]
        if lines:
            limit = (facts.detail.recipe.get("drift") or {}).get("limit") if key == "drift" else None
            blocks_found.append(Chart(title, tuple(lines), facts.last, limit))
    rows = [
        (key, _short(curve.last_value), str(curve.last_step), sparkline(_finite(curve.mean), SPARK))
        for key, curve in sorted(curves.items())
        if curve.column
    ]
    if rows:
        blocks_found.append(Table(("metric", "last", "at step", "whole run"), tuple(rows), right=(1, 2)))
    return tuple(blocks_found)


def line_of(curve: Curve, first: float, last: float, columns: int) -> Line:
    """Return a curve that was requested in bins of [first, last] as steps and values; non-finite bins are left out."""
    bins = [
        (column, mean, low, high)
        for column, mean, low, high in zip(curve.column, curve.mean, curve.low, curve.high, strict=True)
        if all(map(math.isfinite, (mean, low, high)))
    ]
    width = (last - first) / max(1, columns)
    steps = tuple(first + (column + 0.5) * width for column, _, _, _ in bins)
    mean, low, high = (tuple(bin_values[at] for bin_values in bins) for at in (1, 2, 3))
    return Line(curve.key, steps, mean, low, high, is_points=len(bins) <= FEW_POINTS)


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
