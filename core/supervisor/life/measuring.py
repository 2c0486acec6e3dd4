"""Queues the measuring of a run that is one of several approaches, once it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.store import approaches, checks, jobs

if TYPE_CHECKING:
    import duckdb


def queue(connection: duckdb.DuckDBPyConnection, run_id: int) -> None:
    """Queue what measures a run's checkpoint behind its check; nothing for a run that is of no comparison."""
    args = approaches.job_args(connection, run_id)
    if args is None:
        return
    step, path = checks.newest_checkpoint(connection, run_id, None)
    jobs.add_job(
        connection,
        run_id=run_id,
        verb="measure",
        args={**args, "step": step, "checkpoint": path},
        priority=jobs.CHECK_PRIORITY,
    )
