"""The whole content of a database as plain rows, for comparison with another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from finetop.core.store.database import open_store
from finetop.core.store.run_records import OF_THE_FILE


def dump(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table about runs, sorted. The database's supervisor must have ended."""
    connection = open_store(database)
    try:
        names = {n for (n,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()
            for name in sorted(names - OF_THE_FILE)
        }
    finally:
        connection.close()


def differences(one: dict[str, list[tuple[Any, ...]]], other: dict[str, list[tuple[Any, ...]]]) -> list[str]:
    """Return the rows that only one of two dumps has."""
    lines = []
    for table in sorted(one.keys() | other.keys()):
        mine, theirs = Counter(one.get(table, [])), Counter(other.get(table, []))
        lines += [f"{table} -{row!r}" for row in (mine - theirs).elements()]
        lines += [f"{table} +{row!r}" for row in (theirs - mine).elements()]
    return lines
