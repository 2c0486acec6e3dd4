"""`finetop sql`: one parsed SELECT in a read-only transaction, with a time limit and a row cap."""

from __future__ import annotations

import threading
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import BadInput, StoreTrouble
from finetop.core.protocol.messages.runs import SqlAnswer
from finetop.core.store.database import damage


def select(cursor: Connection, query: str, *, limit: int, timeout_s: float) -> SqlAnswer:
    """Run one SELECT on a cursor of its own, and close it. External access is off for the whole database (see open.py).

    Raises BadInput for anything but one SELECT, for an error in it, and when the time is over.
    """
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise BadInput(f"this SQL can't be read: {_first(error)}") from error
    if len(statements) != 1 or statements[0].type is not duckdb.StatementType.SELECT:
        raise BadInput(
            "only one SELECT is allowed here.", hint='Try: finetop sql "SELECT name, step FROM runs"'
        )
    timer = threading.Timer(timeout_s, cursor.interrupt)
    timer.start()
    try:
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        cursor.execute(query)
        columns = [column[0] for column in cursor.description or []]
        rows = cursor.fetchmany(limit + 1)
    except duckdb.InterruptException as error:
        raise BadInput(
            f"the query took over {timeout_s:g} s and was stopped.", hint="Ask for less."
        ) from error
    except duckdb.Error as error:
        if words := damage(error):
            raise StoreTrouble(words) from error
        raise BadInput(f"this SQL failed: {_first(error)}") from error
    finally:
        timer.cancel()
        cursor.close()
    return SqlAnswer(columns, [[_plain(value) for value in row] for row in rows[:limit]], len(rows) > limit)


def _first(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)
