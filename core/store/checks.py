"""Checks in the store: full results, the one that represents a run, and the items that flipped."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.check.checked_weights import tuned_hash
from finetop.core.errors import NotFound, did_you_mean
from finetop.core.protocol import events
from finetop.core.protocol.check_result import Flip, brief
from finetop.core.protocol.messages.checks import FlipsAnswer
from finetop.core.protocol.runs import Best, CheckBrief
from finetop.core.protocol.standing import Standing
from finetop.core.store import run_records, triage_states
from finetop.core.store.database import insert, json_text, one_row, read_as
from finetop.core.text import quoted

# What the scores of an item tell of a Flip.
SCORED = ("task", "item", "base", "tuned", "base_answer", "tuned_answer", "base_log_prob", "tuned_log_prob")
_STANDING = "SELECT id, time, step, result FROM checks WHERE run_id = ? AND NOT superseded"


def runs_at_end(recipe: Mapping[str, Any]) -> bool:
    """Return True if a run is checked when training ends; not if its recipe has no general check."""
    check = recipe.get("check", {})
    return bool(check.get("at_end", True)) and check.get("general", {}) is not None


def add(connection: Connection, run_id: int, job_id: int, at: float, verdict: events.Verdict) -> None:
    """Store a check's result, replacing an earlier one of the same job and step."""
    query = "SELECT id FROM checks WHERE job_id = ? AND step IS NOT DISTINCT FROM ?"
    existing = connection.execute(query, [job_id, verdict.step]).fetchone()
    check_id = existing[0] if existing else run_records.next_number(connection, "checks")
    short = brief(check_id, at, verdict.step, verdict.result)
    if _is_of_new_weights(connection, run_id, verdict):
        triage_states.reopen(connection, run_id, at)
    connection.execute("DELETE FROM checks WHERE id = ?", [check_id])
    insert(
        connection, "checks", id=check_id, run_id=run_id, step=verdict.step, time=at, verdict=short.verdict,
        result=json_text(verdict.result), job_id=job_id, claim=short.claim, watch=short.watch, superseded=False,
    )  # fmt: skip
    run_records.mark_run(connection, run_id)


def _is_of_new_weights(connection: Connection, run_id: int, verdict: events.Verdict) -> bool:
    """Return True if a step was checked before, as other weights: its folder was changed in place."""
    now = tuned_hash(verdict.result)
    before = [tuned_hash(one) for one in models_of(connection, run_id) if one["step"] == verdict.step]
    return now is not None and bool(before) and before[0] not in (None, now)


def supersede(connection: Connection, run_id: int, step: int) -> None:
    """Mark checks of later checkpoints as superseded: these no longer exist. Their claims stay used."""
    connection.execute("UPDATE checks SET superseded = true WHERE run_id = ? AND step > ?", [run_id, step])
    run_records.mark_run(connection, run_id)


def brief_of(connection: Connection, run_id: int) -> str | None:
    """Return the brief of a run's best checkpoint, else of its newest claim, else of its newest check, as JSON."""
    best = best_of(connection, run_id)
    query = f"{_STANDING} ORDER BY (step IS NOT DISTINCT FROM ?) DESC, watch, id DESC LIMIT 1"
    row = connection.execute(query, [run_id, -1 if best is None else best.step]).fetchone()
    return None if row is None else json_text(seen_brief(connection, run_id, *row))


def briefs(connection: Connection, run_id: int) -> list[CheckBrief]:
    """Read the briefs of a run's checks, newest first."""
    return [seen_brief(connection, run_id, *check) for check in _newest_first(connection, run_id)]


def _newest_first(connection: Connection, run_id: int) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = connection.execute(f"{_STANDING} ORDER BY id DESC", [run_id]).fetchall()
    return found


def seen_brief(
    connection: Connection, run_id: int, check_id: int, at: float, step: int | None, result: str
) -> CheckBrief:
    """Return the brief of a result, including its state in triage."""
    standing = triage_states.of_run(connection, run_id).get("", Standing())
    accepted = (standing.by or "somebody") if standing.state == "accepted" else ""
    reason = standing.reason if accepted else ""
    return brief(check_id, at, step, msgspec.json.decode(result), accepted, standing.fixed_by, reason)


def best_of(connection: Connection, run_id: int) -> Best | None:
    """Read a run's best checkpoint, or None if its training named none."""
    row = connection.execute("SELECT best FROM runs WHERE id = ?", [run_id]).fetchone()
    return msgspec.json.decode(row[0], type=Best) if row is not None and row[0] else None


def results(connection: Connection, run_id: int) -> list[dict[str, Any]]:
    """Read a run's check results, newest first."""
    return [
        {"check_id": check_id, "at": at, "step": step, **msgspec.json.decode(result)}
        for check_id, at, step, result in _newest_first(connection, run_id)
    ]


def models_of(connection: Connection, run_id: int) -> list[dict[str, Any]]:
    """Read what a run's checks tell of their models, hashes included, newest first."""
    query = f"SELECT id, step, result->'models' FROM ({_STANDING}) ORDER BY id DESC"
    return [
        {"check_id": check_id, "step": step, "models": msgspec.json.decode(models or "null")}
        for check_id, step, models in connection.execute(query, [run_id]).fetchall()
    ]


def newest_result(connection: Connection, run_id: int, step: int | None = None) -> dict[str, Any] | None:
    """Read the newest check result of a given checkpoint, else the run's newest; None if there is none."""
    query = f"{_STANDING} ORDER BY coalesce(step = ?, false) DESC, id DESC LIMIT 1"
    row = connection.execute(query, [run_id, step]).fetchone()
    return None if row is None else {**msgspec.json.decode(row[3]), "at": row[1], "step": row[2]}


def flips(connection: Connection, run_id: int, check_id: int | None, task: str) -> FlipsAnswer:
    """List the items on which base and tuned model differ in one check: lost before won, largest difference first.

    For an item that was scored again (out of memory, a second attempt) the last score counts. Raises NotFound if the
    run has no such check, or the check no such task.
    """
    condition = "run_id = ? AND NOT superseded AND (? IS NULL OR id = ?)"
    query = f"SELECT id, job_id, step FROM checks WHERE {condition} ORDER BY id DESC LIMIT 1"
    check_row = connection.execute(query, [run_id, check_id, check_id]).fetchone()
    if check_row is None:
        raise NotFound(f"this run has no check {'yet' if check_id is None else check_id}.")
    chosen, job_id, step = check_row
    rows = connection.execute(
        "WITH scored AS (SELECT * FROM item_scores WHERE job_id = ? AND (step IS NULL OR step = ?)"
        " QUALIFY row_number() OVER (PARTITION BY model, task, item ORDER BY rowid DESC) = 1)"
        " SELECT t.task, t.item, b.score, t.score, b.answer, t.answer, b.answer_log_prob, t.answer_log_prob"
        " FROM scored t JOIN scored b ON b.task = t.task AND b.item = t.item AND b.model = 'base'"
        " WHERE t.model = 'tuned' AND t.score <> b.score AND (? = '' OR t.task = ?)"
        " ORDER BY t.score > b.score, abs(t.score - b.score) DESC, t.task, t.item",
        [job_id, step, task, task],
    ).fetchall()
    if task and not rows:
        _require_task(connection, job_id, task)
    found = [Flip(category="", question="", gold="", **dict(zip(SCORED, row, strict=True))) for row in rows]
    return FlipsAnswer(int(chosen), found)


def _require_task(connection: Connection, job_id: int, task: str) -> None:
    """Raise NotFound, listing the scored tasks, if a check's job scored no item of this task."""
    query = "SELECT DISTINCT task FROM item_scores WHERE job_id = ? ORDER BY task"
    tasks = read_as(connection, str, query, [job_id])
    if task not in tasks:
        hint = did_you_mean(task, tasks)
        raise NotFound(f"this check has no task {quoted(task)}.", hint=hint or f"It has {', '.join(tasks)}.")


def newest_checkpoint(
    connection: Connection, run_id: int, step: int | None, gone: Collection[int] = ()
) -> tuple[int, str]:
    """Return step and path of the checkpoint at `step`, else the best, else the newest. Raises NotFound.

    `gone` are the steps whose folders were deleted: see core/supervisor/saved_checkpoints.py.
    """
    best = best_of(connection, run_id) if step is None else None
    there = "run_id = ? AND NOT list_contains(?::BIGINT[], step)"
    newest = f"{there} AND (? IS NULL OR step = ?) ORDER BY (step = ?) DESC, step DESC LIMIT 1"
    values = [run_id, list(gone), step, step, -1 if best is None else best.step]
    row = connection.execute(f"SELECT step, path FROM checkpoints WHERE {newest}", values).fetchone()
    if row is not None:
        return int(row[0]), str(row[1])
    query = f"SELECT DISTINCT step FROM checkpoints WHERE {there} ORDER BY step"
    steps = read_as(connection, str, query, [run_id, list(gone)])
    hint = f"It has {', '.join(steps)}." if steps else _without_checkpoint(connection, run_id)
    if gone and not steps:
        hint = "None is left: train it again."
    if step in gone or (step is None and gone):
        which = "checkpoints were" if step is None else f"checkpoint at step {step} was"
        raise NotFound(f"this run's {which} deleted.", hint=hint)
    at = "" if step is None else f" at step {step}"
    raise NotFound(f"this run has no checkpoint{at}.", hint=hint)


def saved_places(connection: Connection, run_id: int) -> dict[int, str]:
    """Return the path below the home of each checkpoint that a run reported, by step."""
    query = "SELECT c.step, r.folder || '/' || c.path FROM checkpoints c JOIN runs r ON r.id = c.run_id"
    return dict(connection.execute(f"{query} WHERE r.id = ?", [run_id]).fetchall())


def has_checkpoint(connection: Connection, run_id: int) -> bool:
    rows = connection.execute("SELECT 1 FROM checkpoints WHERE run_id = ? LIMIT 1", [run_id])
    return rows.fetchone() is not None


def _without_checkpoint(connection: Connection, run_id: int) -> str:
    """Return a hint for a run that has no checkpoint, depending on its state."""
    name, word = one_row(connection, "SELECT name, state->>'type' FROM runs WHERE id = ?", [run_id])
    if word == "queued":
        return "It waits in the queue: finetop queue."
    if word == "running":
        return f"It has none yet; to save one and stop: finetop stop {name}."
    return f"It has {word} without one: finetop show {name}."
