"""Which of a run's checks claim something, and their claim number: fixed when a check is queued, before it sees data.

Each further checkpoint is a further chance of a wrong verdict. With `check.every` the k-th distinct checkpoint is the
k-th claim, tested at alpha / (k (k + 1)). Without it the first checked checkpoint is the run's only claim, and a check
of any other is marked "watch". Repeating the same check is the same claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import job_kinds
from finetop.core.store import runs

_CHECKED = (
    "SELECT c.step, j.args, c.claim, c.watch FROM checks c LEFT JOIN jobs j ON j.id = c.job_id"
    " WHERE c.run_id = ? ORDER BY c.id"
)
_LIVE = (
    "SELECT args FROM jobs WHERE run_id = ? AND list_contains(?, verb) AND word IN ('queued', 'running')"
    " ORDER BY id"
)


@dataclass(frozen=True)
class Claim:
    """A check's claim: 0 is the run's only one, k the k-th checkpoint's; `watch` claims nothing."""

    claim: int = 0
    watch: bool = False

    @property
    def args(self) -> dict[str, Any]:
        """The claim as args of the check's job."""
        return {"claim": self.claim, "watch": self.watch}


@dataclass(frozen=True)
class EarlierCheck:
    """An existing or running check: its step, its own settings, its claim."""

    step: int | None
    settings: Mapping[str, Any]
    claim: Claim


def claim_for(
    earlier: Sequence[EarlierCheck],
    step: int | None,
    settings: Mapping[str, Any],
    *,
    is_spent: bool,  # alpha is spent over checkpoints (`check.every`)
    watch: bool = False,  # requests a check without a claim
) -> Claim:
    """Return the claim of a check, given the run's checks so far."""
    claims = [check for check in earlier if not check.claim.watch]
    for check in claims:
        if check.step == step and check.settings == settings:
            return check.claim
    if watch:
        return Claim(watch=True)
    if is_spent:
        return Claim(1 + max((check.claim.claim for check in claims), default=0))
    return Claim(watch=bool(claims))


def claim_of(
    connection: Connection,
    run_id: int,
    step: int | None,
    settings: Mapping[str, Any] | None = None,
    *,
    watch: bool = False,
) -> Claim:
    """Return the claim of a check that is queued now. A check that ended without a verdict used no claim."""
    is_spent = (runs.recipe(connection, run_id).get("check") or {}).get("every") is not None
    if is_spent and not watch:
        # it numbers its claims itself: one from outside would get a number twice
        watch = bool(connection.execute(_LIVE, [run_id, job_kinds.verbs_that("trains_here")]).fetchall())
    return claim_for(_checks_so_far(connection, run_id), step, settings or {}, is_spent=is_spent, watch=watch)


def _checks_so_far(connection: Connection, run_id: int) -> list[EarlierCheck]:
    so_far = []
    for step, text, claim, watch in connection.execute(_CHECKED, [run_id]).fetchall():
        settings = msgspec.json.decode(text or "{}").get("general") or {}
        so_far.append(EarlierCheck(step, settings, Claim(claim, watch)))
    for (text,) in connection.execute(_LIVE, [run_id, job_kinds.verbs_that("gives_verdict")]).fetchall():
        args = msgspec.json.decode(text)
        claim = Claim(args.get("claim", 0), args.get("watch", False))
        so_far.append(EarlierCheck(args.get("step"), args.get("general") or {}, claim))
    return so_far
