"""The results of a curve over selected rows: target and retained score by selector, against random rows and by size.

Runs are those of a sweep that has `select.by` and `rows` among its values. Intervals are 95 % intervals of the t
distribution over seeds, each on its own; differences are paired by seed, which selects the rows and starts the
training of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev

from finetop.core.features.sweeps import seed_groups
from finetop.core.features.sweeps.curve_cells import Against, Cell, Estimate
from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.protocol.messages.runs import SweepsAnswer
from finetop.core.protocol.runs import Finished, RunRow
from finetop.core.protocol.tags import ALL, BY, CONTROL, ROWS

EVALUATION = "evaluation loss"

Runs = Mapping[int, RunRow]  # by seed
Number = Callable[[RunRow], float | None]


@dataclass(frozen=True, slots=True)
class Curves:
    """The cells by selector and rows; `doubling` is the effect of the last doubling of random rows on the target."""

    metric: str
    is_lower_better: bool
    cells: tuple[Cell, ...]
    doubling: Estimate | None
    last: tuple[int, int]  # rows before and after the last doubling


def read(answer: SweepsAnswer) -> Curves | None:
    """Return the runs of a sweep as curves; None for a sweep whose rows were not selected."""
    if not {BY, ROWS} <= set(answer.keys):
        return None
    groups: dict[tuple[str, int], dict[int, RunRow]] = {}
    for swept in answer.runs:
        for by in swept.values[BY].split(","):
            seed = int(swept.values[seed_groups.SEED])
            groups.setdefault((by, int(swept.values[ROWS])), {})[seed] = swept.row
    metric, number = _measure([swept.row for swept in answer.runs])
    is_lower = metric in (*LOWER_IS_BETTER, EVALUATION)
    order = sorted(groups, key=lambda key: (key[0] == ALL, key[0] != CONTROL, key))
    cells = tuple(_cell(key, groups, number, is_lower=is_lower) for key in order)
    control = {rows: runs for (by, rows), runs in groups.items() if by in (CONTROL, ALL)}
    doubling, last = _doubling(control, number)
    return Curves(metric, is_lower, cells, doubling, last)


def _measure(runs: Sequence[RunRow]) -> tuple[str, Number]:
    """Choose the metric: the target of the runs' checks, else the evaluation loss."""
    for run in runs:
        if run.check is not None and seed_groups.target(run) is not None:
            return next(iter(run.check.target)), seed_groups.target
    return EVALUATION, lambda run: run.metrics.get("eval_loss")


def _cell(
    key: tuple[str, int], groups: Mapping[tuple[str, int], Runs], number: Number, *, is_lower: bool
) -> Cell:
    by, rows = key
    runs = groups[key]
    control = groups.get((CONTROL, rows), {})
    difference: Estimate | None = None
    against: Against = ""
    if by not in (CONTROL, ALL) and control:
        own, random = _numbers(runs, number), _numbers(control, number)
        difference = estimate([own[seed] - random[seed] for seed in own if seed in random])
        against = _against(difference, is_lower=is_lower)
        if all(run is control.get(seed) for seed, run in runs.items()):
            against = "same rows"
    finished = sum(isinstance(run.state, Finished) for run in runs.values())
    target = estimate(list(_numbers(runs, number).values()))
    retained = estimate(list(_numbers(runs, seed_groups.retained).values()))
    return Cell(by, rows, len(runs), finished, target, retained, difference, against)


def _against(difference: Estimate | None, *, is_lower: bool) -> Against:
    if difference is None:
        return ""
    if not difference.is_known:
        return "open"
    return "better" if (difference.mean < 0) == is_lower else "worse"


def _numbers(runs: Runs, number: Number) -> dict[int, float]:
    """Return the number of each seed whose run has finished and has it."""
    numbers = {seed: number(run) for seed, run in runs.items() if isinstance(run.state, Finished)}
    return {seed: value for seed, value in numbers.items() if value is not None}


def _doubling(control: Mapping[int, Runs], number: Number) -> tuple[Estimate | None, tuple[int, int]]:
    """Return the effect of the data curve's last step, scaled to one doubling."""
    numbers = {rows: _numbers(runs, number) for rows, runs in sorted(control.items())}
    measured = {rows: by_seed for rows, by_seed in numbers.items() if by_seed}
    last = next(reversed(list(pairwise(measured))), (0, 0))
    if not last[0]:
        return None, last
    few, many = measured[last[0]], measured[last[1]]
    doublings = math.log2(last[1] / last[0])
    return estimate([(many[seed] - few[seed]) / doublings for seed in many if seed in few]), last


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return the mean of values with the 95 % interval of the t distribution; None if there are none."""
    if not values:
        return None
    mean, count = fmean(values), len(values)
    if count == 1:
        return Estimate(mean, None, None, 1)
    from finetop.core.check.statistics.distributions import student_t

    half = student_t(count - 1, 0.975) * stdev(values) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half, count)


def sentences(curves: Curves) -> list[str]:
    """Return who loses to random, who wins, and whether more rows would help: from these numbers alone."""
    return [*_about_selectors(curves), about_rows(curves)]


def _about_selectors(curves: Curves) -> list[str]:
    lines = []
    for against, verb in (("worse", "loses to random"), ("better", "is better than random")):
        for cell in curves.cells:
            if cell.against == against and cell.difference is not None:
                by = interval(cell.difference, sign=True)
                lines.append(f"{cell.by} {verb} at {cell.rows:,} rows: {by}.")
    compared = [cell for cell in curves.cells if cell.against in ("worse", "better", "open")]
    if compared and not lines:
        lines.append("Between random and the others these seeds show no difference.")
    for cell in curves.cells:
        if cell.against == "same rows":
            lines.append(f"{cell.by} chose the same {cell.rows:,} rows as random.")
    return lines


def about_rows(curves: Curves) -> str:
    """Answer whether more rows would help, from the last doubling of random rows."""
    few, many = curves.last
    if curves.doubling is None:
        return "Would more rows help? Not known before random rows of two sizes have finished with one seed."
    change = curves.doubling
    by = interval(change, sign=True)
    what = f"From {few:,} to {many:,} rows, {curves.metric} changed by {by} a doubling"
    if change.count == 1:
        return f"Would more rows help? {what}, with one seed: not distinguishable from chance."
    if not change.is_known:
        return f"Would more rows help? {what}: these {change.count} seeds don't decide it."
    answer = "Probably" if (change.mean < 0) == curves.is_lower_better else "Not more of these"
    return f"Would more rows help? {answer}: {what[0].lower()}{what[1:]}."


def interval(value: Estimate, *, sign: bool = False, digits: int = 3) -> str:
    """Format a mean with its interval: '1.204 (1.187 to 1.221)'."""
    plus = "+" if sign else ""
    mean = f"{value.mean:{plus}.{digits}f}"
    if value.low is None or value.high is None:
        return mean
    return f"{mean} ({value.low:{plus}.{digits}f} to {value.high:{plus}.{digits}f})"
