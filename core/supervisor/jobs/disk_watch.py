"""Looks whether the home's disk is almost full while there is time to do something: before a checkpoint has no room."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from finetop.core.store import notices
from finetop.core.store.database import transaction

if TYPE_CHECKING:
    import duckdb

    from finetop.core.supervisor.state import Supervisor

NEED_S = 10.0  # between two looks at what will be saved


def look(supervisor: Supervisor) -> None:
    """Look how much room there is, with what the live runs will save next; tell once when it becomes too little."""
    room, now = supervisor.room, time.monotonic()
    if now - room.looked_at >= NEED_S:
        room.looked_at = now
        room.need = next_checkpoints(supervisor.connection) if supervisor.live else 0.0
    facts = os.statvfs(supervisor.home.root)
    values = {
        "free_bytes": float(facts.f_bavail * facts.f_frsize),
        "disk_bytes": float(facts.f_blocks * facts.f_frsize),
        "checkpoint_bytes": room.need,
    }
    said = room.disk.look(0, now, values)
    if said is None:
        return
    room.words = "" if said.is_over else f"{said.text}. `finetop clean` shows what can go."
    kind = "over" if said.is_over else "disk"
    with transaction(supervisor.connection):
        notices.add(supervisor.connection, [notices.New(0, kind, None, said.text, time.time())])
    supervisor.touch()


def next_checkpoints(connection: duckdb.DuckDBPyConnection) -> float:
    """Say how many bytes the next checkpoints of all runs that train now will take, as their last ones did."""
    found = connection.execute(
        "SELECT coalesce(sum(size), 0) FROM (SELECT arg_max(c.size_bytes, c.step) AS size FROM jobs j"
        " JOIN checkpoints c ON c.run_id = j.run_id WHERE j.word = 'running' AND j.verb = 'train' GROUP BY j.run_id)"
    ).fetchall()
    return float(found[0][0])
