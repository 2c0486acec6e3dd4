"""Takes a run out of the store, all its rows at once; its numbers are never given to another."""

from __future__ import annotations

from duckdb import DuckDBPyConnection as Connection

from finetop.core.store import run_records


def remove_run(connection: Connection, run_id: int) -> None:
    """Remove all rows of a run, inside of the caller's transaction."""
    for what in ("runs", "jobs", "checks"):
        highest = run_records.next_number(connection, what) - 1
        connection.execute("DELETE FROM removed WHERE what = ?", [what])
        connection.execute("INSERT INTO removed VALUES (?, ?)", [what, highest])
    every = [*run_records.kept_tables(connection), *run_records.FROM_EVENTS, "jobs", "checks"]
    for table in every:
        connection.execute(f"DELETE FROM {table} WHERE run_id = ?", [run_id])
    connection.execute("DELETE FROM runs WHERE id = ?", [run_id])
    run_records.mark_run(connection, run_id)  # for store.json: it has no folder in the list any more
