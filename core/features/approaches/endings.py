"""What follows the end of a run that is one of several approaches: the measurement of its target."""

from __future__ import annotations

from duckdb import DuckDBPyConnection as Connection

from finetop.core.features.approaches import sql
from finetop.core.store import checks, jobs


def after_run(connection: Connection, run_id: int) -> None:
    """Queue the measurement of a run's checkpoint behind its check; nothing for a run in no comparison."""
    args = sql.job_args(connection, run_id)
    if args is None:
        return
    step, path = checks.newest_checkpoint(connection, run_id, None)
    args = {**args, "step": step, "checkpoint": path}
    jobs.add_job(connection, run_id=run_id, verb="measure", args=args)
