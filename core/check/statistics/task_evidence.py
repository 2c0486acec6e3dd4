"""The evidence of one task of a check, as its clusters arrive, and its mark: lost, kept or open."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log
from typing import TYPE_CHECKING

from finetop.core.check.statistics.betting import (
    Exact,
    log_mean_exp,
    log_wealth_of_drop,
    log_wealth_under,
    sample_of_tally,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finetop.core.check.statistics.verdict import CheckPlan
    from finetop.core.protocol.check_result import Mark


@dataclass(frozen=True)
class TaskEvidence:
    """What is known of one task so far; evidence is logarithmic, at its peak over the looks."""

    n: int = 0
    total: int = 0
    change: Exact = 0  # the sum of tuned - base
    tally: Mapping[tuple[Exact, int], int] = field(default_factory=dict)  # clusters of this change and size
    drop: float = 0.0
    of_drop: float = 0.0
    under_margin: float = 0.0
    projected: float = 0.0  # of_drop by the task's last item, at the pace so far
    fallen: bool = False  # beyond the bar, and the estimate is the margin or more
    mark: Mark = "open"


def with_clusters(
    before: TaskEvidence, fresh: Sequence[tuple[Exact, int]], largest: int, margin: float
) -> TaskEvidence:
    """Add clusters (sum of tuned - base, size) to a task's evidence; its bets use its own `largest` cluster."""
    tally = dict(before.tally)
    for cluster in fresh:
        tally[cluster] = tally.get(cluster, 0) + 1
    n = before.n + sum(size for _, size in fresh)
    change = sum((total for total, _ in fresh), before.change)
    drawn = sample_of_tally(tally, largest)
    of_drop = log_wealth_of_drop(drawn, 0.0)
    now = float(log_mean_exp(of_drop))
    under = float(log_mean_exp(log_wealth_under(drawn, margin)))
    is_whole = n == before.total
    return replace(
        before,
        n=n,
        change=change,
        tally=tally,
        drop=float(-change / n),
        of_drop=now if is_whole else max(before.of_drop, now),
        under_margin=under if is_whole else max(before.under_margin, under),
        projected=float(log_mean_exp(of_drop * (before.total / n))),
    )


def marked(plan: CheckPlan, task: TaskEvidence, *, is_proven: bool, is_sure: bool) -> TaskEvidence:
    """Mark a task: `is_proven` if its loss is beyond the bar, `is_sure` if no order of its items could change that."""
    fallen = is_proven and task.drop >= plan.margin
    mark: Mark = "kept" if task.under_margin >= -log(plan.alpha) else "open"
    if fallen:
        mark = "lost" if is_sure or task.n == task.total else "open"
    return replace(task, fallen=fallen, mark=mark)
