"""Comparisons of approaches in the store: their runs, and the measurement of each run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.features.approaches.table import Trained
from finetop.core.protocol import events, job_kinds
from finetop.core.store import run_records
from finetop.core.store.database import insert, json_text, one_value, read_as

_measured = msgspec.json.Decoder(events.ApproachMeasured)


@dataclass(frozen=True, slots=True)
class Member:
    """A run of a comparison."""

    run_id: int
    approach: str
    seed: int
    learns_news: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison, without its runs."""

    name: str
    created: float
    subject: str
    metric: str
    left_out: Mapping[str, str]


def store_measurement(
    connection: Connection, run_id: int, job_id: int, at: float, measurement: events.ApproachMeasured
) -> None:
    """Store a run's measurement, replacing an earlier one."""
    connection.execute("DELETE FROM measured WHERE run_id = ?", [run_id])
    step, result = measurement.step, json_text(measurement)
    insert(connection, "measured", run_id=run_id, job_id=job_id, time=at, step=step, result=result)


def measured(connection: Connection, run_ids: list[int]) -> dict[int, events.ApproachMeasured]:
    """Read the measurements of runs."""
    rows = connection.execute(f"SELECT run_id, result FROM measured WHERE {_OF_RUNS}", [run_ids]).fetchall()
    return {run_id: _measured.decode(text) for run_id, text in rows}


def count_measured(connection: Connection, run_ids: list[int]) -> int:
    """Return how many of the runs are measured."""
    return int(one_value(connection, f"SELECT count(*) FROM measured WHERE {_OF_RUNS}", [run_ids]))


def comparisons(connection: Connection) -> list[Comparison]:
    """List the comparisons, the newest first."""
    query = "SELECT name, created, subject, metric, left_out FROM comparisons ORDER BY created DESC, name"
    rows = connection.execute(query).fetchall()
    return [Comparison(*(*facts, msgspec.json.decode(left_out))) for *facts, left_out in rows]


def store_comparison(connection: Connection, comparison: Comparison) -> None:
    """Store a comparison, replacing one of the same name."""
    connection.execute("DELETE FROM comparisons WHERE name = ?", [comparison.name])
    row = dataclasses.asdict(comparison)
    insert(connection, "comparisons", **row | {"left_out": json_text(row["left_out"])})
    run_records.mark_home(connection)


def members(connection: Connection, comparison: str) -> list[Member]:
    """List the runs of a comparison by id."""
    query = "SELECT run_id, approach, seed, learns_news FROM approaches WHERE comparison = ? ORDER BY run_id"
    return read_as(connection, Member, query, [comparison])


def add_member(connection: Connection, comparison: str, member: Member, digest: str) -> None:
    """Add a run to a comparison."""
    insert(connection, "approaches", comparison=comparison, digest=digest, **dataclasses.asdict(member))
    run_records.mark_run(connection, member.run_id)


def drop_member(connection: Connection, comparison: str, run_id: int) -> None:
    """Remove a run from a comparison."""
    connection.execute("DELETE FROM approaches WHERE comparison = ? AND run_id = ?", [comparison, run_id])
    run_records.mark_run(connection, run_id)


def with_digest(connection: Connection, digest: str) -> int | None:
    """Return the newest run of this recipe and data that finished or may still; None if there is none."""
    condition = "a.digest = ? AND a.digest <> '' AND r.state->>'type' IN ('queued', 'running', 'finished')"
    query = f"SELECT max(a.run_id) FROM approaches a JOIN runs r ON r.id = a.run_id WHERE {condition}"
    run_id: int | None = one_value(connection, query, [digest])
    return run_id


def job_args(connection: Connection, run_id: int) -> dict[str, Any] | None:
    """Return the args of a run's measurement job; None for a run in no comparison."""
    query = "SELECT approach, learns_news FROM approaches WHERE run_id = ? LIMIT 1"
    row = connection.execute(query, [run_id]).fetchone()
    return None if row is None else {"approach": row[0], "learns_news": row[1]}


def power(connection: Connection, run_ids: list[int]) -> dict[int, float]:
    """Return the mean power in watts of each run's GPU while it trained; runs without readings are left out."""
    condition = f"{_OF_RUNS} AND key = 'gpu_watts' AND value IS NOT NULL"
    query = f"SELECT run_id, avg(value) FROM metrics WHERE {condition} GROUP BY run_id"
    return dict(connection.execute(query, [run_ids]).fetchall())


def trained(connection: Connection, run_ids: list[int]) -> dict[int, Trained]:
    """Read each run's training size, its share per step, and its losses at the start, middle and end."""
    loss_rows = connection.execute(_LOSSES, [run_ids]).fetchall()
    losses = {(run_id, key): (first, midway, last) for run_id, key, first, midway, last in loss_rows}
    planned = connection.execute(_PLANNED, [run_ids, job_kinds.verbs_that("trains_here")]).fetchall()
    plans = {run_id: msgspec.json.decode(text, type=events.Planned) for run_id, text in planned}
    by_run = {}
    for run_id, row_count in connection.execute(_TRAINED_ON, [run_ids]).fetchall():
        loss, plan = losses.get((run_id, "eval_loss")) or losses.get((run_id, "loss")), plans.get(run_id)
        by_run[run_id] = Trained(
            rows=int(row_count) if plan is None else plan.rows,
            losses=None if loss is None else (loss[0], loss[2]),
            midway=None if loss is None else loss[1],
            epochs_a_step=None if plan is None or not plan.steps else plan.epochs / plan.steps,
        )
    return by_run


_OF_RUNS = "run_id IN (SELECT unnest(?::INTEGER[]))"
_TRAINED_ON = f"""
    SELECT run_id, sum(coalesce(used, kept)) FROM data_reports d WHERE {_OF_RUNS} AND NOT EXISTS
    (FROM data_sources s WHERE s.run_id = d.run_id AND s.source = d.source AND s.used_as <> 'train') GROUP BY run_id
"""
_PLANNED = f"""
    SELECT run_id, planned FROM jobs WHERE {_OF_RUNS} AND list_contains(?, verb) AND planned <> '{{}}'
    QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY id DESC) = 1
"""
# A training loss comes from one batch per step, so averages over thirds of the run are compared.
_LOSSES = f"""
    WITH ranked AS (
        SELECT run_id, key, value, percent_rank() OVER (PARTITION BY run_id, key ORDER BY step) AS place FROM metrics
        WHERE {_OF_RUNS} AND key IN ('loss', 'eval_loss') AND value IS NOT NULL
    )
    SELECT run_id, key,
        avg(value) FILTER (place <= if(key = 'loss', 0.34, 0)) AS first,
        avg(value) FILTER (place > 0.34 AND place < 0.66) AS midway,
        avg(value) FILTER (place >= if(key = 'loss', 0.66, 1)) AS last
    FROM ranked GROUP BY run_id, key HAVING max(place) = 1
"""


EVENTS = {events.ApproachMeasured: store_measurement}
OF_STEPS = {"measured": "step"}
