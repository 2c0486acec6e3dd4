"""Opens a SQLite file of another program so that it can neither hold its reader nor fill the memory.

A file decides what a query of it computes: a view or a generated column can be endless, and a value a gigabyte.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from stat import S_ISREG
from typing import TYPE_CHECKING
from urllib.parse import quote

from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_S = 5.0  # of all queries between opening and closing, of which the reader has worked
WORKED = 0.5  # this share: on a busy machine, waiting for its turn is no fault of the file's
LONGEST_S = 60.0  # but no longer than this: the next look tries again
CHECK_EVERY = 10_000  # instructions of SQLite's machine, a fraction of a millisecond
LONGEST = 4 << 20  # bytes of a value or a row
BUSY_S = 0.2  # for a program that writes to it
# Errors while a program writes, and after it was killed in doing so, until another one opens the file.
NOT_NOW = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_READONLY)
_DENIED, _ALLOWED = sqlite3.SQLITE_DENY, sqlite3.SQLITE_OK
_REQUIRED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_PRAGMA)
_HOSTILE = (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_INTERRUPT)  # ends of a query
_refused: dict[tuple[int, int], str] = {}  # files, by device and inode, that are not opened again


class NoTable(sqlite3.DatabaseError):
    """What is to be read is computed: a view, a virtual table, a generated column."""


class Locked(sqlite3.OperationalError):
    """Another program writes to the file now, or the machine is too busy: it can be read later."""


@contextmanager
def opened(path: Path, *tables: str) -> Iterator[sqlite3.Connection]:
    """Open a file for queries of these tables. Raises Locked, another sqlite3.Error, OSError.

    A file whose queries work longer than MOST_S, or in which these are no tables, is not opened a second time.
    """
    facts = path.lstat()
    if not S_ISREG(facts.st_mode):
        raise OSError(f"{path.name} is no file")  # sqlite3 would follow a link, and wait for a pipe
    key = (facts.st_dev, facts.st_ino)
    if key in _refused:
        raise sqlite3.OperationalError(_refused[key])
    began, worked = time.monotonic(), time.thread_time()
    is_late = has_waited = False

    def stops() -> bool:
        nonlocal is_late, has_waited
        waited_s, worked_s = time.monotonic() - began, time.thread_time() - worked
        is_late = is_late or (waited_s > MOST_S and worked_s > WORKED * MOST_S)
        has_waited = has_waited or waited_s > LONGEST_S
        return is_late or has_waited

    with closing(sqlite3.connect(_address(path), uri=True, timeout=BUSY_S)) as database:
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        database.set_progress_handler(stops, CHECK_EVERY)
        try:
            _require_tables(database, tables)
            database.set_authorizer(_authorize)
            yield database
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in NOT_NOW or (code == sqlite3.SQLITE_INTERRUPT and not is_late):
                raise Locked(str(error)) from error
            if isinstance(error, NoTable) or getattr(error, "sqlite_errorcode", None) in _HOSTILE:
                _refused[key] = f"reading it took more than {MOST_S:.0f} s" if is_late else str(error)
                print(f"finetop: {plain(path.name)}: {_refused[key]}: it is left out from now on", flush=True)
            raise


def _require_tables(database: sqlite3.Connection, tables: tuple[str, ...]) -> None:
    """Raise NoTable if one of these, where it is there, is no plain table."""
    for name in tables:
        found = database.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        columns = database.execute("SELECT max(hidden) FROM pragma_table_xinfo(?)", (name,)).fetchone()
        is_virtual = found is not None and str(found[1]).upper().split()[:2] == ["CREATE", "VIRTUAL"]
        if found is not None and (found[0] != "table" or is_virtual or (columns[0] or 0) > 0):
            raise NoTable(f"{name} is computed, and no plain table")


def _authorize(
    action: int, first: str | None, second: str | None, database: str | None, source: str | None
) -> int:
    """Allow reads of tables; `source` is the view that a read is part of."""
    if action == sqlite3.SQLITE_READ:
        return _DENIED if source is not None else _ALLOWED
    return _ALLOWED if action in _REQUIRED else _DENIED


def log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _address(database: Path) -> str:
    """Return how to open a database that nothing is written beside: without its log nobody writes to it."""
    with database.open("rb") as file:
        has_log_mode = file.read(19)[18:] == b"\2"
    still = "&immutable=1" if has_log_mode and not log_of(database).exists() else ""
    return f"file:{quote(os.fsencode(database))}?mode=ro{still}"
