"""Which order is next for a run, the same in the app and on the command line: one that is not refused as it stands."""

from __future__ import annotations

from typing import Literal

from finetop.core.protocol.accepts import accepts
from finetop.core.protocol.runs import Failed, Lost, Queued, Running, RunRow, Stopped

Order = Literal["", "resume", "retry", "check", "check again", "remedies"]


def advised(row: RunRow) -> Order:
    """Name what to order next; nothing where there is only something to look at, to wait for, or to train anew.

    "check again": the target could not be measured, and its file is to be put right first.
    """
    if is_held(row):
        return "resume"
    if row.is_under_way or isinstance(row.state, Failed):
        return ""
    order = _wanted(row)
    if not order:
        return ""
    asked: Literal["check", "retry", "remedies"] = "check" if order == "check again" else order
    return order if accepts(row, asked) else ""


def _wanted(row: RunRow) -> Literal["", "retry", "check", "check again", "remedies"]:
    state, check = row.state, row.check
    if isinstance(state, Lost):
        return "retry"
    if check is None:
        # one that was taken out of the queue was not wanted
        stays_unmade = isinstance(state, Stopped) and not row.saved and state.how != "cancel"
        return "retry" if stays_unmade else "check"
    if check.verdict == "regressed":
        return "" if check.is_settled else "remedies"
    return "check again" if check.verdict == "ok" and check.target_failed else ""


def is_held(row: RunRow) -> bool:
    """Return whether all that is under way of a run waits for a person: it is paused, or held."""
    states = [row.state] if isinstance(row.state, Running | Queued) else []
    states += [job.state for job in row.side_jobs]
    return bool(states) and all(isinstance(state, Queued) and state.held for state in states)
