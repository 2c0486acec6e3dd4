"""Triage states of regressions: new, looked at, accepted, fixed. Users set them, so run.json keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol.standing import Standing, StandingState
from finetop.core.store import run_records
from finetop.core.store.database import insert, one_value

NONE = 0  # runs.triage of a run that has not regressed
PLACES: Final[Mapping[StandingState, int]] = {"new": 1, "looking": 2, "accepted": 3, "fixed": 4}
# Columns, as Standing has them.
_STANDING = ("state", "who", "time", "reason", "note", "fixed_by", "points_lost")


def of_runs(connection: Connection, run_ids: Sequence[int]) -> dict[int, dict[str, Standing]]:
    """Read the triage states of these runs' regressions: run id -> task ("" for the whole) -> standing."""
    columns, of_runs = ", ".join(_STANDING), "run_id IN (SELECT unnest(?::INTEGER[]))"
    query = f"SELECT run_id, task, {columns} FROM triage WHERE {of_runs}"
    by_run: dict[int, dict[str, Standing]] = {}
    for run_id, task, *standing in connection.execute(query, [list(run_ids)]).fetchall():
        by_run.setdefault(run_id, {})[task] = Standing(*standing)
    return by_run


def of_run(connection: Connection, run_id: int) -> dict[str, Standing]:
    """Read the triage states of a run's regressions, by task."""
    return of_runs(connection, [run_id]).get(run_id, {})


def store_state(connection: Connection, run_id: int, task: str, standing: Standing) -> None:
    """Store the triage state of a regression, replacing an earlier one; a plain "new" needs no row."""
    connection.execute("DELETE FROM triage WHERE run_id = ? AND task = ?", [run_id, task])
    if standing.state != "new" or standing.note:
        row = dict(zip(_STANDING, msgspec.structs.astuple(standing), strict=True))
        insert(connection, "triage", run_id=run_id, task=task, **row)
    run_records.mark_run(connection, run_id)


def reopen(connection: Connection, run_id: int, at: float) -> None:
    """Make a run's regressions new again that were accepted, or assigned a fix, before `at`, as other weights."""
    for task, standing in of_run(connection, run_id).items():
        if standing.state in ("accepted", "fixed") and standing.at < at:
            by = standing.fixed_by or standing.by or "somebody"
            note = f"{standing.state} by {by} for weights that have changed since; {standing.reason}".rstrip(
                "; "
            )
            kept = f"{standing.note}\n{note}".strip()
            store_state(connection, run_id, task, Standing(note=kept))


def to_triage(connection: Connection) -> int:
    """Count the runs whose regression nobody has looked at."""
    return int(one_value(connection, "SELECT count(*) FROM runs WHERE triage = 1"))
