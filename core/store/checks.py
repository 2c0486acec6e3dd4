"""Checks in the store: whole results, and the items that flipped between base and tuned model."""

from __future__ import annotations

from typing import Any

import duckdb
import msgspec

from finetop.core.errors import NotFound
from finetop.core.protocol import FlipRow, FlipsAnswer


def results(connection: duckdb.DuckDBPyConnection, run_id: int) -> list[dict[str, Any]]:
    """Read a run's check results, newest first."""
    found = connection.execute(
        "SELECT id, time, step, result FROM checks WHERE run_id = ? ORDER BY id DESC", [run_id]
    ).fetchall()
    return [
        {"check_id": check_id, "at": at, "step": step, **msgspec.json.decode(result)}
        for check_id, at, step, result in found
    ]


def flips(connection: duckdb.DuckDBPyConnection, run_id: int, check_id: int | None, task: str) -> FlipsAnswer:
    """List the items on which base and tuned model differ in one check, lost ones first, widest first.

    Raises NotFound when the run has no such check.
    """
    found = connection.execute(
        "SELECT max(id) FROM checks WHERE run_id = ? AND (? IS NULL OR id = ?)", [run_id, check_id, check_id]
    ).fetchone()
    if found is None or found[0] is None:
        raise NotFound(
            "this run has no check yet." if check_id is None else f"this run has no check {check_id}."
        )
    job = int(found[0])
    rows = connection.execute(
        "SELECT t.task, t.item, t.score > b.score, b.score, t.score, b.answer, t.answer, b.answer_log_prob,"
        " t.answer_log_prob FROM item_scores t JOIN item_scores b"
        " ON b.job_id = t.job_id AND b.task = t.task AND b.item = t.item AND b.model = 'base'"
        " WHERE t.job_id = ? AND t.model = 'tuned' AND t.score <> b.score AND (? = '' OR t.task = ?)"
        " ORDER BY t.score > b.score, abs(t.score - b.score) DESC, t.task, t.item",
        [job, task, task],
    ).fetchall()
    return FlipsAnswer(job, [FlipRow(*row) for row in rows])


def newest_checkpoint(
    connection: duckdb.DuckDBPyConnection, run_id: int, step: int | None
) -> tuple[int, str]:
    """Find (step, path) of a run's checkpoint: the newest, or the one at a step.

    Raises NotFound naming the steps that there are.
    """
    found = connection.execute(
        "SELECT step, path FROM checkpoints WHERE run_id = ? AND (? IS NULL OR step = ?) ORDER BY step DESC LIMIT 1",
        [run_id, step, step],
    ).fetchone()
    if found is None:
        steps = [
            str(s)
            for (s,) in connection.execute(
                "SELECT step FROM checkpoints WHERE run_id = ? ORDER BY step", [run_id]
            ).fetchall()
        ]
        hint = f"It has {', '.join(steps)}." if steps else "It has none yet: `finetop stop` saves one."
        raise NotFound(
            "this run has no checkpoint" + (f" at step {step}." if step is not None else "."), hint=hint
        )
    return int(found[0]), str(found[1])
