"""The recommended next command for a run: one that would not be refused in its present state."""

from __future__ import annotations

from typing import Literal

from finetop.core.protocol.accepts import accepts
from finetop.core.protocol.runs import Failed, Lost, Queued, Running, RunRow, Stopped

Order = Literal["", "resume", "retry", "check", "check again", "remedies"]


def advised(row: RunRow) -> Order:
    """Return what to do next; empty if there is only something to read, to wait for, or to retrain."""
    if is_held(row):
        return "resume"
    if row.is_under_way or isinstance(row.state, Failed):
        return ""
    order = _wanted(row)
    if not order:
        return ""
    request: Literal["check", "retry", "remedies"] = "check" if order == "check again" else order
    return order if accepts(row, request) else ""


def _wanted(row: RunRow) -> Literal["", "retry", "check", "check again", "remedies"]:
    state, check = row.state, row.check
    if isinstance(state, Lost):
        return "retry"
    if check is None:
        # a run that was removed from the queue was not wanted
        stays_unmade = isinstance(state, Stopped) and not row.saved and state.how != "cancel"
        return "retry" if stays_unmade else "check"
    if check.verdict == "regressed":
        return "" if check.is_settled else "remedies"
    return "check again" if check.verdict == "ok" and check.target_failed else ""


def is_held(row: RunRow) -> bool:
    """Return True if all jobs under way of a run wait for a person: paused or held."""
    states = [row.state] if isinstance(row.state, Running | Queued) else []
    states += [job.state for job in row.side_jobs]
    return bool(states) and all(isinstance(state, Queued) and state.held for state in states)
