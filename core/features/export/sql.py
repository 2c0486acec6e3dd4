"""Exported files in the store: the latest of each name, with its verdict against the tuned model."""

from __future__ import annotations

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import events
from finetop.core.protocol.exports import ExportedFile
from finetop.core.store.database import insert, json_text, read_as

_file = msgspec.json.Decoder(ExportedFile)


def store_file(
    connection: Connection, run_id: int, job_id: int, at: float, event: events.ExportJudged
) -> None:
    """Store an exported file, replacing an earlier one of the same place and name."""
    file = msgspec.structs.replace(event.file, at=at)
    earlier = "DELETE FROM exports WHERE run_id = ? AND folder = ? AND name = ?"
    connection.execute(earlier, [run_id, file.folder, file.name])
    insert(
        connection, "exports", run_id=run_id, step=file.step, folder=file.folder, name=file.name, job_id=job_id,
        time=at, file=json_text(file),
    )  # fmt: skip


def of_run(connection: Connection, run_id: int) -> list[ExportedFile]:
    """Read the files that were written of a run, oldest first; files of one job in the order it wrote them."""
    query = "SELECT file FROM exports WHERE run_id = ? ORDER BY job_id, time, rowid"
    return read_as(connection, _file.decode, query, [run_id])


def with_verdict(connection: Connection, run_id: int, step: int | None) -> list[ExportedFile]:
    """Read the files of a checkpoint that have a verdict, oldest first."""
    return [file for file in of_run(connection, run_id) if file.step == step and file.verdict is not None]


EVENTS = {events.ExportJudged: store_file}
OF_STEPS = {"exports": "step"}
DETAIL = {"exports": of_run}
