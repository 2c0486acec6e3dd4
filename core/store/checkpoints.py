"""Saved checkpoints in the store: what clean may remove, and forgetting one whose files go."""

from __future__ import annotations

from typing import Any

from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import job_kinds
from finetop.core.store import run_records
from finetop.core.store.database import insert, one_value, read_as, transaction

_KEY = ("run_id", "job_id", "step", "time")
_FORGET = "DELETE FROM checkpoints WHERE run_id = ? AND job_id = ? AND step = ? AND time = ?"


def largest_bytes(connection: Connection, run_id: int) -> int:
    """Return the size of a run's largest checkpoint; 0 without one."""
    query = "SELECT coalesce(max(size_bytes), 0) FROM checkpoints WHERE run_id = ?"
    return int(one_value(connection, query, [run_id]))


def ended_runs(connection: Connection) -> list[Any]:
    """Return id, name, folder, end and best (JSON) of the ended runs that were trained here."""
    query = (
        "SELECT id, name, folder, ended, best FROM runs WHERE ended IS NOT NULL AND id NOT IN"
        " (SELECT run_id FROM jobs WHERE word IN ('queued', 'running') OR list_contains(?, verb)) ORDER BY id"
    )
    found: list[Any] = connection.execute(query, [job_kinds.verbs_that("is_import")]).fetchall()
    return found


def needed_by_others(connection: Connection) -> dict[int, set[int]]:
    """Return the steps that other runs start from, by run; -1: the newest."""
    needed: dict[int, set[int]] = {}
    for parent_id, step in connection.execute("SELECT parent_id, step FROM parents").fetchall():
        needed.setdefault(parent_id, set()).add(-1 if step is None else step)
    return needed


def eval_losses(connection: Connection, pairs: list[tuple[int, int]]) -> dict[int, dict[int, float]]:
    """Return the eval_loss at pairs of run and step, by both, in one query: 20,000 of them took 20 s."""
    query = (
        "SELECT m.run_id, m.step, arg_max(m.value, m.time) FROM metrics m JOIN"
        " (SELECT unnest(?::INTEGER[]) AS run_id, unnest(?::INTEGER[]) AS step) saved"
        " ON saved.run_id = m.run_id AND saved.step = m.step"
        " WHERE m.key = 'eval_loss' AND m.value IS NOT NULL GROUP BY m.run_id, m.step"
    )
    losses: dict[int, dict[int, float]] = {}
    if pairs:
        values = [[run_id for run_id, _ in pairs], [step for _, step in pairs]]
        for run_id, step, loss in connection.execute(query, values).fetchall():
            losses.setdefault(run_id, {})[step] = loss
    return losses


def named_like(connection: Connection, pattern: str) -> set[str]:
    """Return all that matches a pattern in the recipes of runs and the args of jobs."""
    query = (
        f"SELECT unnest(regexp_extract_all(recipe, '{pattern}')) FROM runs"
        f" UNION SELECT unnest(regexp_extract_all(args, '{pattern}')) FROM jobs"
    )
    return set(read_as(connection, str, query))


def forget(connection: Connection, folder: str, path: str) -> None:
    """Forget the checkpoint at a path in a run's folder, in a transaction; rebuild does so too."""
    query = (
        "SELECT c.run_id, c.job_id, c.step, c.time FROM checkpoints c JOIN runs r ON r.id = c.run_id"
        " WHERE r.folder = ? AND c.path = ?"
    )
    with transaction(connection):
        for row in connection.execute(query, [folder, path]).fetchall():
            insert(connection, "cleaned", **dict(zip(_KEY, row, strict=True)))
            connection.execute(_FORGET, row)
            run_records.mark_run(connection, row[0])


def forget_again(connection: Connection, run_id: int, row: dict[str, Any]) -> None:
    """Forget a checkpoint whose events a rebuild has ingested again."""
    connection.execute(_FORGET, [run_id, row["job_id"], row["step"], row["time"]])
