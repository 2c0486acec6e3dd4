"""Remedies in the store: the latest result of each candidate of a checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import NotFound, Refused, did_you_mean
from finetop.core.features.remedies import messages as messages_remedies, remedies, wording
from finetop.core.protocol import events
from finetop.core.protocol.runs import Now, RemedyRow, TaskBrief, Tried
from finetop.core.store import runs
from finetop.core.store.database import insert, json_text, read_as
from finetop.core.store.jobs import Job

NOW = "now"  # the candidate that is the checkpoint itself
FOR_PRICE = 30  # of other runs' remedies, for the price estimate

Result = events.RemedyTried | events.RemedyConfirmed
_row = msgspec.json.Decoder(RemedyRow)


def store_result(connection: Connection, run_id: int, job_id: int, at: float, event: Result) -> None:
    """Store a candidate's result or confirmation, replacing an earlier one."""
    before = of_run(connection, run_id, event.step).get(event.name)
    if isinstance(event, events.RemedyTried):
        row = _tried(at, event)
        if before is not None:
            # On a retry most scores come from the cache: keep the measured scoring time.
            row = msgspec.structs.replace(row, seconds=max(row.seconds, before.seconds))
    elif before is None:
        return  # a confirmation of a candidate that was never tried
    else:
        row = _confirmed(before, event)
    earlier = "DELETE FROM remedies WHERE run_id = ? AND step = ? AND name = ?"
    connection.execute(earlier, [run_id, event.step, event.name])
    in_points = (row.drop, *(row.decided or (None, None)))
    lost, low, high = (None if points is None else points / 100 for points in in_points)
    insert(
        connection, "remedies", run_id=run_id, step=event.step, name=event.name, job_id=job_id, time=row.at,
        verdict=row.verdict, gain=row.gain, lost=lost, low=low, high=high, confirmation=row.confirmation,
        row=json_text(row),
    )  # fmt: skip


def of_run(connection: Connection, run_id: int, step: int) -> dict[str, RemedyRow]:
    """Read the results of a checkpoint's remedies, by name."""
    query = "SELECT name, row FROM remedies WHERE run_id = ? AND step = ? ORDER BY name"
    rows = connection.execute(query, [run_id, step]).fetchall()
    return {name: _row.decode(text) for name, text in rows}


def of_base(connection: Connection, run_id: int) -> list[RemedyRow]:
    """Read the latest results of other runs of the same base model."""
    query = (
        "SELECT remedies.row FROM remedies JOIN runs ON runs.id = remedies.run_id WHERE runs.id <> $1"
        " AND runs.model = (SELECT model FROM runs WHERE id = $1) ORDER BY remedies.time DESC LIMIT $2"
    )
    return read_as(connection, _row.decode, query, [run_id, FOR_PRICE])


def for_export(
    connection: Connection, run_id: int, step: int, name: str, gone: Collection[int], weights_now: Now
) -> dict[str, Any]:
    """Return how to make a remedy, and its scored weights.

    Raises NotFound if not tried, Refused if it failed, or was tried on other weights than there are now.
    """
    recipe = runs.recipe(connection, run_id)
    by_name = {made.name: made for made in candidates(connection, run_id, recipe, step, gone)}
    row = of_run(connection, run_id, step).get(name)
    if name not in by_name:
        raise NotFound(f"this run has no remedy {name[:60]!r}.", hint=did_you_mean(name[:60], by_name))
    run = runs.row(connection, run_id).name
    if row is None:
        raise NotFound(f"{name} was not tried yet.", hint=f"Run `finetop remedy {run} --only {name}`.")
    if weights_now != "same":
        hint = f"Check those, then try it again: finetop check {run}@{step}"
        raise Refused(wording.tried_on_others(name, f"{run}@{step}"), hint=hint)
    if row.verdict in ("failed", "unchanged"):
        raise Refused(f"{name} could not be made: {row.reason}")
    return {**msgspec.to_builtins(by_name[name]), "weights": row.weights}


def candidates(
    connection: Connection, run_id: int, recipe: dict[str, Any], step: int, gone: Collection[int] = ()
) -> list[messages_remedies.Candidate]:
    """Return the remedies of a run's checkpoint; those of checkpoints that are `gone` from the disk are left out."""
    query = "SELECT step, kind FROM checkpoints WHERE run_id = ? ORDER BY step"
    saved = connection.execute(query, [run_id]).fetchall()
    kind = next((kind for saved_step, kind in saved if saved_step == step), "")
    return remedies.candidates(
        remedies.subject_of(recipe, step, kind, [at for at, _ in saved if at not in gone])
    )


def _tried(at: float, event: events.RemedyTried) -> RemedyRow:
    facts = msgspec.structs.asdict(event)
    facts["step"] = facts.pop("made_of")
    facts["worst"] = [TaskBrief(task, 100 * drop, mark) for task, drop, mark in facts.pop("tasks")]
    facts |= {"at": at, "drop": points(event.drop)}
    facts |= {"interval": interval(event.interval), "decided": interval(event.decided)}
    return RemedyRow(**facts)


def _confirmed(row: RemedyRow, event: events.RemedyConfirmed) -> RemedyRow:
    return msgspec.structs.replace(
        row,
        confirmation=event.verdict,
        fresh_reason=event.reason,
        fresh_drop=points(event.drop),
        fresh_interval=interval(event.interval),
        fresh_decided=interval(event.decided),
        fresh_used=event.items_used,
        fresh_total=event.items_total,
        alpha=event.alpha,
    )


def points(share: float | None) -> float | None:
    return None if share is None else 100 * share


def interval(shares: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if shares is None else (100 * shares[0], 100 * shares[1])


def tried(connection: Connection, jobs: Sequence[Job]) -> dict[int, Tried]:
    """Count the tried remedies of each job, with the estimated time for the rest at the same pace."""
    totals = {job.id: len(job.args.get("candidates", ())) for job in jobs}
    counted = connection.execute(
        "SELECT job_id, count(*), avg(seconds) FILTER (seconds > 0) FROM"
        " (SELECT job_id, TRY_CAST(row->>'seconds' AS DOUBLE) AS seconds FROM remedies"
        " WHERE name <> 'now' AND list_contains(?, job_id)) GROUP BY job_id",
        [list(totals)],
    ).fetchall()
    measured = {job_id: (int(done), each) for job_id, done, each in counted}
    progress = {}
    for job_id, total in totals.items():
        done, each = measured.get(job_id, (0, None))
        remaining = max(0, total - done)
        left_s = remaining * each if remaining and each else None
        progress[job_id] = Tried(min(done, total), total, left_s)
    return progress


EVENTS = {events.RemedyTried: store_result, events.RemedyConfirmed: store_result}
OF_STEPS = {"remedies": "step"}
TRIED = {"remedy": tried}
