"""Writes what the store has decided into the run folders, whenever something has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from finetop.core.store import records

if TYPE_CHECKING:
    from finetop.core.supervisor.state import Supervisor


def record(supervisor: Supervisor) -> None:
    """Write the records of runs that changed. On a full disk they stay marked, and the next beat tries again."""
    revision = supervisor.revision
    if supervisor.recorded == revision:
        return
    try:
        records.write_marked(supervisor.connection, supervisor.home.root)
    except (OSError, duckdb.Error):
        return  # the beat says what is wrong with the disk or the store
    supervisor.recorded = revision
