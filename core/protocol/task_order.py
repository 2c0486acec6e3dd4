"""In which order the tasks of several checks stand in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def tasks_worst_first(checks: Iterable[Iterable[tuple[str, str, float | None]]]) -> list[str]:
    """Order tasks, given as (task, mark, drop) of each check: those proven lost first, then by the largest drop."""
    worst: dict[str, tuple[bool, float]] = {}
    for tasks in checks:
        for task, mark, drop in tasks:
            here = (mark == "lost", float("-inf") if drop is None else drop)
            worst[task] = max(worst.get(task, here), here)
    return sorted(worst, key=lambda task: (not worst[task][0], -worst[task][1], task))
