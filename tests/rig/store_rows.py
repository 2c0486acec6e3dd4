"""Rows of a store: runs with a job each, and events ingested as if a job had written them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from finetop.core.protocol import events, runs as data
from finetop.core.runtime import event_log
from finetop.core.store import ingest, jobs, runs
from finetop.core.store.database import open_store, transaction

RECIPE = {"model": {"id": "tiny"}, "method": {"name": "lora"}, "objective": {"name": "sft"}}


@cache
def empty_database() -> bytes:
    """Return a database with all migrations and no rows: made once, because it takes 0.08 s."""
    with TemporaryDirectory() as folder:
        open_store(Path(folder) / "empty").close()
        return (Path(folder) / "empty").read_bytes()


def add_run(connection: duckdb.DuckDBPyConnection, name: str = "", **sections: Any) -> int:
    """Add a run without a job; `sections` are those of its recipe that differ."""
    number = runs.next_run_id(connection)
    runs.add_run(
        connection, run_id=number, name=name or f"r{number}", folder=f"runs/{number}",
        recipe={**RECIPE, **sections}, source="",
    )  # fmt: skip
    return number


def add(
    connection: duckdb.DuckDBPyConnection,
    name: str = "",
    verb: data.Verb = "train",
    *,
    run_id: int | None = None,
    state: data.State | None = None,
) -> tuple[int, int]:
    """Add a run with a job, or a job to a run; return both ids. Without a state it is queued."""
    number = run_id or add_run(connection, name)
    job, _ = jobs.add_job(connection, run_id=number, verb=verb, args={}, priority=10)
    if state is not None:
        with transaction(connection):
            jobs.set_state(connection, job, state)
            if verb == "train":
                runs.set_state(connection, number, state)
    return number, job


def write(path: Path, *told: events.Event) -> Path:
    """Write events behind those of a file."""
    log = event_log.EventLog(path)
    for event in told:
        log.write(event)
    log.close()
    return path


def take_in(connection: duckdb.DuckDBPyConnection, job: int, path: Path, *told: events.Event) -> None:
    """Write events into a job's file, and ingest all of it."""
    write(path, *told)
    while ingest.take_in_all(connection, {job: path}).more:
        pass
