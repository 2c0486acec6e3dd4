"""Runs of a sweep in groups: runs that differ only in their seed form one setting, with mean and spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from finetop.core.protocol.messages.runs import SweptRun
from finetop.core.protocol.runs import Finished, RunRow
from finetop.core.wording.verdicts import SHORT_WORDS

SEED = "train.seed"


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over runs: how many have the number, its mean, and the sample's standard deviation; None for one run."""

    count: int
    mean: float
    deviation: float | None


@dataclass(frozen=True, slots=True)
class Setting:
    """All runs with the same values of the varied settings, seeds aside."""

    values: tuple[str, ...]  # of the varied settings, in order
    runs: tuple[RunRow, ...]

    @property
    def finished(self) -> int:
        return sum(isinstance(run.state, Finished) for run in self.runs)


def settings(runs: Sequence[SweptRun], keys: Sequence[str]) -> list[Setting]:
    """Group the runs of a sweep by the values of `keys`, in the order of their first runs."""
    groups: dict[tuple[str, ...], list[RunRow]] = {}
    for swept in runs:
        groups.setdefault(tuple(swept.values.get(key, "") for key in keys), []).append(swept.row)
    return [Setting(values, tuple(rows)) for values, rows in groups.items()]


def spread(runs: Sequence[RunRow], number: Callable[[RunRow], float | None]) -> Spread | None:
    """Return the mean and spread of a number over the finished runs; None if none has it."""
    numbers = [number(run) for run in runs if isinstance(run.state, Finished)]
    known = [value for value in numbers if value is not None]
    if not known:
        return None
    return Spread(len(known), fmean(known), stdev(known) if len(known) > 1 else None)


def loss(run: RunRow) -> float | None:
    """Return the final loss of a run: of its evaluation if it has one."""
    return run.metrics.get("eval_loss", run.metrics.get("loss"))


def loss_label(runs: Iterable[RunRow]) -> str:
    """Return which loss that is: of evaluation or of training."""
    return "eval loss" if any("eval_loss" in run.metrics for run in runs) else "train loss"


def target(run: RunRow) -> float | None:
    """Return the score of the run's target: the first metric of its check's target."""
    pairs = list(run.check.target.values()) if run.check is not None else []
    return pairs[0][1] if pairs and len(pairs[0]) == 2 else None


def metric(runs: Iterable[RunRow]) -> str:
    """Return the metric of the runs' target; empty if none was checked on one."""
    return next((name for run in runs if run.check is not None for name in run.check.target), "")


def retained(run: RunRow) -> float | None:
    """Return the change of the retained score, in points: -9.1 is a loss."""
    return None if run.check is None or run.check.drop is None else -run.check.drop


def verdicts(runs: Sequence[RunRow]) -> list[tuple[int, str, str]]:
    """Count the verdicts of runs that differ by their seed: [(2, "ok", "ok"), (1, "regressed", "REGRESSED")]."""
    counts = Counter(run.check.verdict for run in runs if run.check is not None)
    return [(counts[verdict], verdict, name) for verdict, name in SHORT_WORDS.items() if verdict in counts]


def spread_text(value: Spread | None, digits: int, *, sign: bool = False) -> str:
    """Format a mean with its spread: '0.982 ± 0.011'; one run's number stands alone."""
    if value is None:
        return "-"
    rounded = round(value.mean, digits) or 0.0  # no -0.0
    mean = f"{rounded:{'+' if sign and rounded else ''}.{digits}f}"
    return mean if value.deviation is None else f"{mean} ± {value.deviation:.{digits}f}"
