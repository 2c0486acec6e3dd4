"""How long trying a remedy takes, as measured: in this run, else in other runs of its base, else by its checks."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from finetop.core.features.remedies.choice import choosing_items
from finetop.core.protocol.check_result import CheckResult
from finetop.core.protocol.runs import RemedyRow

CACHED = 5  # times as fast as the slowest: its scores came from the cache


def price(
    own: Sequence[RemedyRow], others: Sequence[RemedyRow], checks: Sequence[CheckResult]
) -> float | None:
    """Estimate the seconds of trying a remedy: from this run's, else from others of its base, else from its checks.

    Loading and target are included. To confirm one takes as long: as many items are left for it. A remedy scores up to
    all selection items, while a check may have stopped after a few, so the time per item counts. Those that found their
    scores in the cache took almost no time and don't count; of several checks the slowest does. None without any
    measurement.
    """
    measured_rows = _measured(own) or _measured(others)
    items = next((row.items_total for row in _measured(own)), 0)
    items = items or max((choosing_items(check.items_total) for check in checks), default=0)
    each = max((check.seconds / check.items_scored for check in checks if check.items_scored), default=0.0)
    by_remedy = [row.seconds / row.items_total for row in measured_rows]
    slowest = max(by_remedy, default=0.0)
    if slowest > each / CACHED:
        each = median(pace for pace in by_remedy if pace > slowest / CACHED)
        items = items or round(median(row.items_total for row in measured_rows))
    return each * items or None


def _measured(rows: Sequence[RemedyRow]) -> list[RemedyRow]:
    return [row for row in rows if row.seconds and row.items_total]
