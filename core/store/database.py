"""Opens the database: settings, numbered migrations with a backup, readable errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import StoreTrouble
from finetop.core.runtime.crash_points import abort_at
from finetop.core.store import backups

# with 96 six runs that write without pause brought the supervisor to 210 MB, with 64 to 178
MEMORY_LIMIT = "64MB"
REBUILD = "The run folders still hold everything: `finetop rebuild` makes it again from them."
Read = TypeVar("Read")
_json = msgspec.json.Encoder()


def open_store(path: Path) -> Connection:
    """Open or create the database, and migrate it. Raises StoreTrouble if it is a link, locked, damaged or too new."""
    if path.is_symlink():
        raise StoreTrouble(f"{path} is a link.", hint="Put the file itself there, or use another home.")
    for file in (path, backups.wal_of(path)):
        if file.exists() and not file.is_file():  # opening a pipe would block
            raise StoreTrouble(f"{file} is not a file.", hint=f"Remove it. {REBUILD}")
    made_now = not path.exists()
    try:
        connection = duckdb.connect(
            str(path),
            config={
                "memory_limit": MEMORY_LIMIT,
                "threads": 2,
                "preserve_insertion_order": False,
                "enable_external_access": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
    except duckdb.Error as error:
        raise StoreTrouble(reason(path, error)) from error
    try:
        migrate(connection, path, made_now=made_now)
        connection.execute("SET lock_configuration = true")
    except BaseException as error:
        connection.close()
        if made_now:
            path.unlink(missing_ok=True)
        if isinstance(error, duckdb.Error):  # it opens, but is damaged further in
            raise StoreTrouble(reason(path, error)) from error
        raise
    path.chmod(0o600)
    return connection


def reason(path: Path, error: duckdb.Error) -> str:
    text = str(error).splitlines()[0]
    if "onflicting lock" in text:
        return f"{path} is in use by another process. {text}"
    if "No space left" in text:
        return f"no room on the disk for {path}. Free some, then try again."
    return f"{path} can't be read: {text.rstrip('.')}. {REBUILD}"


def damage(error: duckdb.Error) -> str:
    """Describe a damaged block of the database if that is what DuckDB reports, else return ''."""
    text = str(error).splitlines()[0]
    signs = ("Corrupt", "checksum", "invalidated", "Could not read enough bytes")
    is_damage = any(sign in text for sign in signs)
    return f"the database is damaged: {text.rstrip('.')}. {REBUILD}" if is_damage else ""


def migrations() -> list[tuple[str, str]]:
    """List (name, SQL) of all migrations in order."""
    files = resources.files("finetop.core.store.migrations").iterdir()
    return sorted((file.name, file.read_text("utf-8")) for file in files if file.name.endswith(".sql"))


def made_by_newer(path: Path) -> str:
    """Return why only a newer finetop can read a database; '' if it can be read, or if that is unknown."""
    if path.is_symlink() or not path.is_file():
        return ""
    try:
        connection = duckdb.connect(str(path), read_only=True, config={"enable_external_access": False})
    except duckdb.Error as error:
        text = str(error).splitlines()[0]
        return text if "version number" in text or "newer version of DuckDB" in text else ""
    try:
        newer = _unknown(connection)
    except duckdb.Error:
        return ""
    finally:
        connection.close()
    return f"it has {newer[-1]}" if newer else ""


def _done(connection: Connection) -> set[str]:
    """Name the migrations that a database has."""
    return set(read_as(connection, str, "SELECT name FROM migrations"))


def _unknown(connection: Connection) -> list[str]:
    """List migrations of a database that this finetop does not have."""
    return sorted(_done(connection) - {name for name, _ in migrations()})


def migrate(connection: Connection, path: Path, *, made_now: bool) -> None:
    columns = "name VARCHAR NOT NULL, applied DOUBLE NOT NULL"
    connection.execute(f"CREATE TABLE IF NOT EXISTS migrations ({columns})")
    if newer := _unknown(connection):
        hint = "Install that version, or use another home."
        raise StoreTrouble(f"{path} was made by a newer finetop (it has {newer[-1]}).", hint=hint)
    applied = _done(connection)
    waiting = [(name, sql) for name, sql in migrations() if name not in applied]
    if waiting and not made_now:
        connection.execute("CHECKPOINT")
        try:
            backups.copy(path, waiting[0][0])
        except OSError as error:
            fault = f"{path} must be upgraded, but can't be copied first: {error.strerror}."
            raise StoreTrouble(fault, hint="Free some room on the disk, then try again.") from error
    for name, sql in waiting:
        with transaction(connection):
            connection.execute(sql)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", [name, time.time()])


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Commit the block's changes, or roll all of them back."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    abort_at("store-before-commit")
    connection.execute("COMMIT")
    abort_at("store-committed")


def one_row(connection: Connection, sql: str, values: object = None) -> tuple[Any, ...]:
    """Return the only row of a query."""
    # to the end: while a row is left to fetch, no appender can be opened (an alarm in the same chunk)
    row: tuple[Any, ...] = connection.execute(sql, values).fetchall()[0]
    return row


def one_value(connection: Connection, sql: str, values: object = None) -> Any:
    """Return the only value of a query."""
    return one_row(connection, sql, values)[0]


def read_as(connection: Connection, kind: Callable[..., Read], sql: str, values: object = None) -> list[Read]:
    """Read the rows of a query, each made into one of a kind."""
    return [kind(*row) for row in connection.execute(sql, values).fetchall()]


def insert(connection: Connection, table: str, /, **row: Any) -> None:
    """Add a row, given by its columns; the others keep their defaults."""
    columns = ", ".join(f'"{column}"' for column in row)
    marks = ", ".join("?" for _ in row)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(row.values()))


def append(connection: Connection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Add many rows at once, in the table's columns; no row of an earlier query may be left to fetch."""
    if rows:
        with connection.appender(table) as appender:
            appender.append_rows(rows)


def update(connection: Connection, table: str, number: int, /, **row: Any) -> None:
    """Set columns of the row with this id."""
    columns = ", ".join(f"{column} = ?" for column in row)
    connection.execute(f"UPDATE {table} SET {columns} WHERE id = ?", [*row.values(), number])


def json_text(value: object) -> str:
    """Write a value as JSON, as columns hold it."""
    return _json.encode(value).decode()
