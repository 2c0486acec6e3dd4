"""Writes the store's decisions into the run folders after every change."""

from __future__ import annotations

from functools import partial

import duckdb

from finetop.core.store import run_records
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.state import Supervisor


async def record(supervisor: Supervisor) -> None:
    """Write the records of runs that changed. On a full disk they stay marked, and the next beat tries again."""
    async with supervisor.recording:
        revision = supervisor.revision
        if supervisor.recorded == revision:
            return
        try:
            records = run_records.marked(supervisor.connection, supervisor.home.root)
            if records is not None:
                await aside(partial(run_records.write, records, supervisor.home.root))
                run_records.unmark(supervisor.connection, records)
        except (OSError, duckdb.Error):
            return  # the beat reports what is wrong with the disk or the store
        supervisor.recorded = revision
