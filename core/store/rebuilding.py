"""What only a rebuild asks of the store: ids that are taken, columns of tables, values that ingesting can't restore."""

from __future__ import annotations

from typing import Any

from duckdb import DuckDBPyConnection as Connection

from finetop.core.store.database import one_value, transaction

_SUPERSEDE = (
    "UPDATE checks SET superseded = ?, id = CASE WHEN EXISTS (SELECT 1 FROM checks WHERE id = ?"
    " AND run_id <> ?) THEN id ELSE ? END WHERE job_id = ? AND step IS NOT DISTINCT FROM ?"
)


def taken(connection: Connection, table: str, numbers: list[int]) -> int | None:
    """Return one of these ids that a table has already; None if it has none of them."""
    query = f"SELECT id FROM {table} WHERE list_contains(?::INTEGER[], id)"
    row = connection.execute(query, [numbers]).fetchone()
    return None if row is None else int(row[0])


def reserve(connection: Connection, number: int) -> None:
    """Reserve a run's id, so that no new run gets it."""
    with transaction(connection):
        connection.execute("INSERT INTO removed VALUES ('runs', ?)", [number])


def columns(connection: Connection, table: str) -> list[Any]:
    """Return a table's columns in order: name, type, whether it may be NULL, whether it has a default."""
    query = (
        "SELECT column_name, data_type, is_nullable, column_default IS NOT NULL FROM duckdb_columns()"
        " WHERE table_name = ? ORDER BY column_index"
    )
    found: list[Any] = connection.execute(query, [table]).fetchall()
    return found


def restore_check(
    connection: Connection,
    run_id: int,
    check_id: int,
    job_id: int | None,
    step: int | None,
    *,
    superseded: bool,
) -> None:
    """Set an ingested check's id, unless another run's has it, and whether it is superseded."""
    connection.execute(_SUPERSEDE, [superseded, check_id, run_id, check_id, job_id, step])


def restore_last_word(connection: Connection, job_id: int, ended_word: str | None) -> None:
    """Set the last word of a job, as JSON; None if its newest attempt has not said one."""
    connection.execute("UPDATE jobs SET ended_word = ? WHERE id = ?", [ended_word, job_id])


def set_brief(connection: Connection, run_id: int, brief: str | None) -> None:
    """Set the brief of a run's newest check, as JSON."""
    connection.execute("UPDATE runs SET brief = ? WHERE id = ?", [brief, run_id])


def unmark(connection: Connection, run_id: int) -> None:
    """Note that a run's record on disk is up to date."""
    connection.execute("DELETE FROM unrecorded WHERE run_id = ?", [run_id])


def close(connection: Connection, record_number: int) -> int:
    """Note that no record is missing, write all to the file, and return the number of ingested events."""
    events = int(one_value(connection, "SELECT coalesce(sum(last_n), 0) FROM jobs"))
    connection.execute("UPDATE recorded SET number = ?", [record_number])
    connection.execute("CHECKPOINT")
    return events
