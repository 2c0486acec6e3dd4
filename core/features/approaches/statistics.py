"""Scores over rows, their intervals, and paired differences: pure functions on measured values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev

from finetop.core.check.statistics import NORMAL_95
from finetop.core.features.approaches.messages import Gap, Price, Score
from finetop.core.protocol.check_result import LOWER_IS_BETTER

Items = Mapping[str, tuple[float, float]]  # row -> (value, weight)
Spent = Mapping[str, Sequence[float]]  # row -> seconds of its answer in each round
SAME_PRICE = 0.1  # the same work differs by a tenth between jobs that run one after another


def over_seeds(runs: Sequence[Items]) -> dict[str, tuple[float, float]]:
    """Average each row over the runs of different seeds; rows that some runs lack are left out."""
    if not runs:
        return {}
    shared = [row for row in runs[0] if all(row in run for run in runs)]
    return {row: (fmean(run[row][0] for run in runs), runs[0][row][1]) for row in shared}


def score(runs: Sequence[Items]) -> Score | None:
    """Return the mean over rows with its interval, and the spread over seeds; None without rows."""
    items = over_seeds(runs)
    if not items:
        return None
    values, weights = zip(*items.values(), strict=True)
    mean, low, high = _interval(values, weights)
    means = [_ratio(run) for run in runs]
    return Score(mean, low, high, len(items), len(runs), stdev(means) if len(means) > 1 else None)


def gap(of: Sequence[Items], to: Sequence[Items]) -> Gap | None:
    """Return the paired difference between two approaches, over the rows that both have."""
    own, other = over_seeds(of), over_seeds(to)
    shared = [row for row in own if row in other]
    if not shared:
        return None
    changes = [own[row][0] - other[row][0] for row in shared]
    weights = [own[row][1] for row in shared]
    mean = sum(changes) / sum(weights)
    half = NORMAL_95 * _stderr(changes, weights, mean)
    return Gap(mean, mean - half, mean + half, len(shared))


def price(runs: Sequence[Spent], rows: Sequence[str], of: str, others: float | None) -> Price | None:
    """Return a query's price from its rounds, each the mean over these rows; None if there are none."""
    counts = [min(len(spent[row]) for row in rows) if rows else 0 for spent in runs]
    pairs = [(spent, at) for spent, count in zip(runs, counts, strict=True) for at in range(count)]
    rounds = [fmean(spent[row][at] for row in rows) for spent, at in pairs]
    if not rounds:
        return None
    return Price(median(rounds), min(rounds), max(rounds), of, len(rows), len(rounds), others)


def is_same_price(first: Price, other: Price) -> bool:
    """Return True if two prices can't be distinguished: their ranges overlap or nearly do, in seconds of one kind."""
    low, high = (first, other) if first.median <= other.median else (other, first)
    return first.of == other.of and low.high * (1 + SAME_PRICE) >= high.low


def is_better(metric: str, value: float, other: float) -> bool:
    return value < other if metric in LOWER_IS_BETTER else value > other


def gains(metric: str, change: Gap) -> bool:
    """Return True if a change for the better is proven: its whole interval is on the good side."""
    return change.high < 0 if metric in LOWER_IS_BETTER else change.low > 0


def _ratio(items: Items) -> float:
    return sum(value for value, _ in items.values()) / sum(weight for _, weight in items.values())


def _interval(values: Sequence[float], weights: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, low and high: Wilson's interval (1927) of a share, else the normal interval of a ratio of sums."""
    total = sum(weights)
    mean = sum(values) / total
    if all(weight == 1.0 and value in (0.0, 1.0) for value, weight in zip(values, weights, strict=True)):
        return mean, *_wilson(mean, len(values))
    half = NORMAL_95 * _stderr(values, weights, mean)
    is_share = all(weight == 1.0 for weight in weights)
    return mean, max(0.0, mean - half), min(1.0, mean + half) if is_share else mean + half


def _wilson(share: float, count: int) -> tuple[float, float]:
    z = NORMAL_95**2
    middle = (share + z / (2 * count)) / (1 + z / count)
    half = NORMAL_95 * math.sqrt(share * (1 - share) / count + z / (4 * count**2)) / (1 + z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _stderr(values: Sequence[float], weights: Sequence[float], mean: float) -> float:
    """Return the standard error of a ratio of sums, linearised as in core/check/scoring/target.py."""
    few = len(values) / (len(values) - 1) if len(values) > 1 else 1.0
    residuals = [value - mean * weight for value, weight in zip(values, weights, strict=True)]
    return math.sqrt(few * sum(residual**2 for residual in residuals)) / sum(weights)
