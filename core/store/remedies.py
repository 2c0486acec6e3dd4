"""Remedies in the store: the latest result of each candidate of a checkpoint."""

from __future__ import annotations

from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core import remedies
from finetop.core.errors import NotFound, Refused, did_you_mean
from finetop.core.protocol import events
from finetop.core.protocol.messages import remedies as messages_remedies
from finetop.core.protocol.runs import RemedyRow, TaskBrief
from finetop.core.store import runs

NOW = "now"  # the candidate that is the checkpoint itself
FOR_PRICE = 30  # of other runs' remedies, for the price estimate

_json = msgspec.json.Encoder()
_row = msgspec.json.Decoder(RemedyRow)


def take(
    connection: Connection,
    run_id: int,
    job_id: int,
    at: float,
    told: events.RemedyTried | events.RemedyConfirmed,
) -> None:
    """Store a candidate's result or confirmation, replacing an earlier one."""
    if isinstance(told, events.RemedyTried):
        row: RemedyRow | None = _tried(at, told)
    else:
        row = of_run(connection, run_id, told.step).get(told.name)
        row = row and _confirmed(row, told)
    if row is None:
        return  # a confirmation of a candidate that was never tried
    if isinstance(told, events.RemedyTried) and (
        before := of_run(connection, run_id, told.step).get(told.name)
    ):
        # On a retry most scores come from the cache: keep the measured scoring time.
        row = msgspec.structs.replace(row, seconds=max(row.seconds, before.seconds))
    connection.execute(
        "DELETE FROM remedies WHERE run_id = ? AND step = ? AND name = ?", [run_id, told.step, told.name]
    )
    low, high = row.decided or (None, None)
    connection.execute(
        "INSERT INTO remedies (run_id, step, name, job_id, time, verdict, gain, lost, low, high, confirmation, row)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(run_id, told.step, told.name, job_id, row.at, row.verdict, row.gain),
            *(None if points is None else points / 100 for points in (row.drop, low, high)),
            *(row.confirmation, _json.encode(row).decode()),
        ],
    )


def of_run(connection: Connection, run_id: int, step: int) -> dict[str, RemedyRow]:
    """Read the results of a checkpoint's remedies, by name."""
    found = connection.execute(
        "SELECT name, row FROM remedies WHERE run_id = ? AND step = ? ORDER BY name", [run_id, step]
    ).fetchall()
    return {name: _row.decode(text) for name, text in found}


def of_base(connection: Connection, run_id: int) -> list[RemedyRow]:
    """Read the latest results of other runs of the same base model."""
    found = connection.execute(
        "SELECT remedies.row FROM remedies JOIN runs ON runs.id = remedies.run_id WHERE runs.id <> ?"
        " AND runs.model = (SELECT model FROM runs WHERE id = ?) ORDER BY remedies.time DESC LIMIT ?",
        [run_id, run_id, FOR_PRICE],
    ).fetchall()
    return [_row.decode(text) for (text,) in found]


def for_export(connection: Connection, run_id: int, step: int, name: str) -> dict[str, Any]:
    """Return what an export needs of a remedy that was tried: how to make it, and its scored weights.

    Raises NotFound if it was not tried, Refused if it failed.
    """
    recipe = runs.recipe(connection, run_id)
    found = {one.name: one for one in candidates(connection, run_id, recipe, step)}
    row = of_run(connection, run_id, step).get(name)
    if name not in found:
        raise NotFound(f"this run has no remedy {name[:60]!r}.", hint=did_you_mean(name[:60], found))
    if row is None:
        run = runs.row(connection, run_id).name
        raise NotFound(f"{name} was not tried yet.", hint=f"Run `finetop remedy {run} --only {name}`.")
    if row.verdict in ("failed", "unchanged"):
        raise Refused(f"{name} could not be made: {row.reason}")
    return {**msgspec.to_builtins(found[name]), "weights": row.weights}


def candidates(
    connection: Connection, run_id: int, recipe: dict[str, Any], step: int
) -> list[messages_remedies.Candidate]:
    kept = connection.execute(
        "SELECT step, kind FROM checkpoints WHERE run_id = ? ORDER BY step", [run_id]
    ).fetchall()
    kind = next((kind for one, kind in kept if one == step), "")
    return remedies.candidates(remedies.subject_of(recipe, step, kind, [one for one, _ in kept]))


def _tried(at: float, told: events.RemedyTried) -> RemedyRow:
    facts = msgspec.structs.asdict(told)
    facts["step"] = facts.pop("made_of")
    facts["worst"] = [TaskBrief(task, 100 * drop, mark) for task, drop, mark in facts.pop("tasks")]
    facts |= {
        "at": at,
        "drop": _points(told.drop),
        "interval": _interval(told.interval),
        "decided": _interval(told.decided),
    }
    return RemedyRow(**facts)


def _confirmed(row: RemedyRow, told: events.RemedyConfirmed) -> RemedyRow:
    return msgspec.structs.replace(
        row,
        confirmation=told.verdict,
        fresh_reason=told.reason,
        fresh_drop=_points(told.drop),
        fresh_interval=_interval(told.interval),
        fresh_decided=_interval(told.decided),
        fresh_used=told.items_used,
        fresh_total=told.items_total,
        alpha=told.alpha,
    )


def _points(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _interval(shares: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if shares is None else (100 * shares[0], 100 * shares[1])
