"""What only the store knows of a run, recorded in the run's folder too: run.json, which `rebuild` reads.

Most of the store comes from events; states, names, the queue, claims and attempts come only from the supervisor. Every
change of these marks its run in the same transaction; before a reply is sent, and on each beat, marked runs are written
and unmarked. HOME/store.json holds what belongs to no run, and how often records were written, as does the database: a
database that lacks some of it (its WAL was lost) is recognised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import StoreTrouble
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.limits import Large
from finetop.core.runtime.files import read_own, write_whole
from finetop.core.store.database import REBUILD, one_value, transaction

FORMAT = 2  # of run.json
STORE = "store.json"
STORE_FORMAT = 1

# Tables and columns derived from events or the recipe: `rebuild` restores them from these.
_ROWS = "metrics checkpoints samples data_reports data_sources alarms item_scores settings remedies measured exports"
FROM_EVENTS = frozenset(_ROWS.split())
_OF_JOBS = "word bytes_read last_n last_event bad_lines bad_line skipping device versions planned"
DERIVED = {
    "runs": ("rank", "ended", "step", "steps", "last", "brief", "first_row", "best", "triage", "points_lost"),
    "jobs": tuple(_OF_JOBS.split()),
}
# About the database file, not about runs; only this database needs to send its pending notices.
OF_THE_FILE = frozenset({"migrations", "unrecorded", "recorded", "notices", "messages"})

Schema = Mapping[str, Sequence[str]]  # columns of each table

_json = msgspec.json.Encoder()
_state = msgspec.json.Decoder(data.State)


def mark_run(connection: Connection, run_id: int) -> None:
    """Mark a run's record in its folder as outdated."""
    connection.execute("INSERT INTO unrecorded VALUES (?)", [run_id])


def mark_job(connection: Connection, job_id: int) -> None:
    """Mark the run of a job."""
    connection.execute("INSERT INTO unrecorded SELECT run_id FROM jobs WHERE id = ?", [job_id])


def mark_home(connection: Connection) -> None:
    """Mark store.json as outdated: what belongs to no run has changed."""
    connection.execute("INSERT INTO unrecorded VALUES (0)")  # no run has this id


def next_number(connection: Connection, table: str) -> int:
    """Return the next id of a table (runs, jobs, checks): above every id ever used."""
    present = f"SELECT coalesce(max(id), 0) FROM {table}"
    removed = "SELECT coalesce(max(highest), 0) FROM removed WHERE what = ?"
    return 1 + int(one_value(connection, f"SELECT greatest(({present}), ({removed}))", [table]))


@dataclass(frozen=True)
class Marked:
    """The records of the marked runs, read from the store at one moment."""

    marks: list[tuple[int, int]]  # run id, number of marks
    runs: dict[Path, bytes]  # run folder -> its record
    number: int  # number of times that records were written, including this
    whole: bytes  # content of store.json


def write_marked(connection: Connection, root: Path) -> bool:
    """Write the records of all marked runs, then unmark them. Return True if there were any.

    After a crash in between they are written again. Raises OSError (a full disk): they stay marked.
    """
    pending = marked(connection, root)
    if pending is None:
        return False
    write(pending, root)
    unmark(connection, pending)
    return True


def marked(connection: Connection, root: Path) -> Marked | None:
    """Collect the records to be written; None if no run is marked."""
    marks = _marks(connection)
    if not marks:
        return None
    schema = schema_of(connection)
    every = [record for run_id, _ in marks if (record := record_of(connection, run_id, schema)) is not None]
    runs = {root / record["store"]["run"]["folder"]: _json.encode(record) for record in every}
    number = number_of(connection) + 1
    whole = {"format": STORE_FORMAT, "number": number, "tables": _tables(connection, schema)}
    return Marked(marks, runs, number, _json.encode(whole))


def _marks(connection: Connection) -> list[tuple[int, int]]:
    """Return how often each marked run is marked."""
    query = "SELECT run_id, count(*) FROM unrecorded GROUP BY run_id"
    marks: list[tuple[int, int]] = connection.execute(query).fetchall()
    return marks


def write(pending: Marked, root: Path) -> None:
    """Write the records; may run in a thread, one call at a time. Raises OSError."""
    for folder, record in pending.runs.items():
        if folder.is_dir() and not folder.is_symlink():
            write_whole(folder / "run.json", record)
    write_whole(root / STORE, pending.whole)


def unmark(connection: Connection, pending: Marked) -> None:
    """Unmark runs whose records were written. A run that was marked again meanwhile stays marked."""
    with transaction(connection):
        written = {run_id for run_id, _ in {*pending.marks} & {*_marks(connection)}}
        connection.execute("DELETE FROM unrecorded WHERE list_contains(?, run_id)", [list(written)])
        connection.execute("UPDATE recorded SET number = ?", [pending.number])


def record_of(connection: Connection, run_id: int, schema: Schema) -> dict[str, Any] | None:
    """Return the content of a run's run.json: what no event contains. None if the run does not exist."""
    rows = _rows(connection, schema, "runs", "id", run_id)
    if not rows:
        return None
    row = rows[0]
    recipe = msgspec.json.decode(row.pop("recipe"))
    jobs = _rows(connection, schema, "jobs", "run_id", run_id)
    for stored in (row, *jobs):
        stored["state"] = _settled(stored["state"])
    query = "SELECT id, job_id, step, superseded FROM checks WHERE run_id = ? ORDER BY id"
    checks = connection.execute(query, [run_id]).fetchall()
    tables = {table: _rows(connection, schema, table, "run_id", run_id) for table in kept_tables(schema)}
    store = {"run": row, "jobs": jobs, "checks": checks, "tables": tables}
    head = {"format": FORMAT, "id": run_id, "name": row["name"], "created": row["created"]}
    return {**head, "recipe": recipe, "store": store}


def _rows(connection: Connection, schema: Schema, table: str, key: str, value: int) -> list[dict[str, Any]]:
    """Read the rows of a run without the columns that come from events."""
    columns = [column for column in schema[table] if column not in DERIVED.get(table, ())]
    column_list = ", ".join(f'"{column}"' for column in columns)
    query = f"SELECT {column_list} FROM {table} WHERE {key} = ? ORDER BY ALL"
    return [dict(zip(columns, row, strict=True)) for row in connection.execute(query, [value]).fetchall()]


def _settled(text: str) -> Any:
    """Remove from a running state what its job's events report: it changes too often to be recorded."""
    state = _state.decode(text)
    if isinstance(state, data.Running):
        unknown = dict.fromkeys(("done", "total", "left_s", "per_s"))
        state = msgspec.structs.replace(data.without_silence(state), phase=data.STARTING, unit="", **unknown)
    return msgspec.to_builtins(state)


def schema_of(connection: Connection) -> Schema:
    """Return the columns of each table in order; read once per write, as it takes 2 ms."""
    own = "schema_name = 'main' AND NOT internal ORDER BY table_name, column_index"
    query = f"SELECT table_name, column_name FROM duckdb_columns() WHERE {own}"
    schema: dict[str, list[str]] = {}
    for table, column in connection.execute(query).fetchall():
        schema.setdefault(table, []).append(column)
    return schema


def kept_tables(schema: Schema) -> list[str]:
    """List the tables about runs that no event fills, whoever added them."""
    return [table for table in _not_from_events(schema) if "run_id" in schema[table]]


def global_tables(schema: Schema) -> list[str]:
    """List the tables that aren't about runs."""
    return [table for table in _not_from_events(schema) if "run_id" not in schema[table]]


def _not_from_events(schema: Schema) -> list[str]:
    return [table for table in schema if table not in FROM_EVENTS | OF_THE_FILE | {"runs", "jobs", "checks"}]


def _tables(connection: Connection, schema: Schema) -> dict[str, list[dict[str, Any]]]:
    tables = {}
    for table in global_tables(schema):
        rows = connection.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()
        tables[table] = [dict(zip(schema[table], row, strict=True)) for row in rows]
    return tables


def number_of(connection: Connection) -> int:
    """Return how often records were written."""
    return int(one_value(connection, "SELECT coalesce(max(number), 0) FROM recorded"))


def _number_in(file: Path, key: str) -> int:
    try:
        record = msgspec.json.decode(read_own(file), type=dict[str, msgspec.Raw])
        return int(msgspec.json.decode(record.get(key, b"0"), type=Large))
    except (OSError, ValueError, RecursionError):
        return 0


def format_of(file: Path) -> int:
    """Return the format named in a record; 0 if it can't be read."""
    return _number_in(file, "format")


def stored_number(root: Path) -> int:
    """Return how often records were written according to store.json; 0 if it can't be read."""
    return _number_in(root / STORE, "number")


def require_in_step(connection: Connection, root: Path) -> None:
    """Raise StoreTrouble if the database is older than the run folders: its WAL was lost, or it is an old copy."""
    behind = stored_number(root) - number_of(connection)
    waiting = one_value(connection, "SELECT count(*) FROM unrecorded")
    if behind > 1 or (behind == 1 and waiting == 0):
        lost = "what was written last" if behind == 1 else f"what was written the last {behind} times"
        fault = f"{root / 'finetop.duckdb'} is older than the run folders: it lacks {lost}."
        raise StoreTrouble(fault, hint=REBUILD)


def require_database(database: Path, runs: Path) -> None:
    """Raise StoreTrouble instead of starting an empty database beside existing runs."""
    is_missing = not database.exists() or database.stat().st_size == 0
    run_count = sum(1 for file in runs.glob("*/run.json")) if is_missing else 0
    if run_count:
        state = "empty" if database.exists() else "gone"
        raise StoreTrouble(f"{database} is {state}, but there are {run_count} run folders.", hint=REBUILD)


def remove_run(connection: Connection, run_id: int) -> None:
    """Delete all rows of a run, inside the caller's transaction."""
    for numbered_table in ("runs", "jobs", "checks"):
        highest = next_number(connection, numbered_table) - 1
        connection.execute("DELETE FROM removed WHERE what = ?", [numbered_table])
        connection.execute("INSERT INTO removed VALUES (?, ?)", [numbered_table, highest])
    for table in (*kept_tables(schema_of(connection)), *FROM_EVENTS, "jobs", "checks"):
        connection.execute(f"DELETE FROM {table} WHERE run_id = ?", [run_id])
    connection.execute("DELETE FROM runs WHERE id = ?", [run_id])
    mark_run(connection, run_id)  # for store.json: the run has no folder any more
