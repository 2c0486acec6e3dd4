"""The main curves (reward, loss, drift), and the last value of each metric."""

from __future__ import annotations

import math

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
        drawn = [curves[name] for name in (key, *_OVER.get(key, ())) if name in curves]
        lines = [line_of(curve, 0, facts.last, COLUMNS) for curve in drawn]
        lines = [line for line in lines if line.steps]
        if lines:
            limit = (facts.detail.recipe.get("drift") or {}).get("limit") if key == "drift" else None
            blocks_found.append(Chart(title, tuple(lines), facts.last, limit))
    rows = [_row(curve) for _, curve in sorted(curves.items()) if curve.column]
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


def _row(curve: Curve) -> tuple[str, ...]:
    last = "-" if curve.last_value is None else f"{curve.last_value:.4g}"
    return curve.key, last, str(curve.last_step), sparkline(list(filter(math.isfinite, curve.mean)), SPARK)
