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

from finetop.core.store import runs
from finetop.core.store.database import one_value


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
    is_spent: bool,
    watch: bool = False,
) -> Claim:
    """Return the claim of a check, given the run's checks so far.

    `is_spent`: alpha is spent over checkpoints (`check.every`); `watch` requests a check without a claim.
    """
    claims = [earlier_check for earlier_check in earlier if not earlier_check.claim.watch]
    for earlier_check in claims:
        if earlier_check.step == step and earlier_check.settings == settings:
            return earlier_check.claim
    if watch:
        return Claim(watch=True)
    if is_spent:
        return Claim(1 + max((earlier_check.claim.claim for earlier_check in claims), default=0))
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
        live = (
            "SELECT count(*) FROM jobs WHERE run_id = ? AND verb = 'train' AND word IN ('queued', 'running')"
        )
        watch = bool(one_value(connection, live, [run_id]))
    return claim_for(_checks_so_far(connection, run_id), step, settings or {}, is_spent=is_spent, watch=watch)


def _checks_so_far(connection: Connection, run_id: int) -> list[EarlierCheck]:
    rows = connection.execute(
        "SELECT c.step, j.args, c.claim, c.watch FROM checks c LEFT JOIN jobs j ON j.id = c.job_id"
        " WHERE c.run_id = ? ORDER BY c.id",
        [run_id],
    ).fetchall()
    so_far = [
        EarlierCheck(step, msgspec.json.decode(args or "{}").get("general") or {}, Claim(claim, watch))
        for step, args, claim, watch in rows
    ]
    under_way = connection.execute(
        "SELECT args FROM jobs WHERE run_id = ? AND verb = 'check' AND word IN ('queued', 'running') ORDER BY id",
        [run_id],
    ).fetchall()
    for (text,) in under_way:
        args = msgspec.json.decode(text)
        claim = Claim(args.get("claim", 0), args.get("watch", False))
        so_far.append(EarlierCheck(args.get("step"), args.get("general") or {}, claim))
    return so_far
