"""Metric points in the store: min and max per column for charts, rows for `tail`."""

from __future__ import annotations

import duckdb

from finetop.core.protocol import Curve, StepRow

WIDEST = 64  # times as many steps are looked through at once as are wanted


def curves(
    connection: duckdb.DuckDBPyConnection,
    run_id: int,
    keys: list[str],
    *,
    columns: int,
    first: int,
    last: int,
) -> list[Curve]:
    """Bin each key's values over [first, last] steps into `columns`: never raw points to a chart.

    Without keys, all keys of the run.
    """
    width = max(last - first, 1)
    columns = max(1, min(columns, 2000))
    chosen = "" if not keys else " AND key IN (SELECT unnest(?))"
    values: list[object] = [first, columns, width, columns - 1, run_id, first, last]
    binned = connection.execute(
        "SELECT key, least((step - ?)::BIGINT * ? // ?, ?)::INTEGER AS bin, min(value), max(value), avg(value),"
        " max(step), arg_max(value, step), count(*) - count(value)"
        f" FROM metrics WHERE run_id = ? AND step BETWEEN ? AND ?{chosen} GROUP BY key, bin ORDER BY key, bin",
        [*values, keys] if keys else values,
    ).fetchall()
    made: dict[str, Curve] = {}
    for key, column, low, high, mean, step, newest, bad in binned:
        old = made.get(key) or Curve(key, [], [], [], [], 0, None, 0)
        if low is not None:
            old.column.append(column)
            old.low.append(low)
            old.high.append(high)
            old.mean.append(mean)
        made[key] = Curve(key, old.column, old.low, old.high, old.mean, step, newest, old.bad + bad)
    return list(made.values())


def steps(connection: duckdb.DuckDBPyConnection, run_id: int, *, after: int, limit: int) -> list[StepRow]:
    """Read the metric rows of the steps after one, oldest first, at most `limit` steps.

    By stretches of steps: sorting all 7 million rows of a week took 10 s of CPU, then had no memory left.
    """
    found: list[StepRow] = []
    width = limit
    while len(found) < limit:
        rows = _stretch(connection, run_id, after, after + width)
        found += rows[: limit - len(found)]
        after += width
        if not rows:  # nothing so near: go to where something is
            nearest = connection.execute(
                "SELECT min(step) FROM metrics WHERE run_id = ? AND step > ?", [run_id, after]
            ).fetchone()
            if nearest is None or nearest[0] is None:
                break
            after = nearest[0] - 1
        elif 4 * len(rows) < width < WIDEST * limit:  # not every step tells something
            width *= 4
    return found


def _stretch(connection: duckdb.DuckDBPyConnection, run_id: int, after: int, until: int) -> list[StepRow]:
    found = connection.execute(
        "SELECT step, max(time), list(key ORDER BY key), list(value ORDER BY key) FROM metrics"
        " WHERE run_id = ? AND step > ? AND step <= ? GROUP BY step ORDER BY step",
        [run_id, after, until],
    ).fetchall()
    return [StepRow(step, at, dict(zip(keys, values, strict=True))) for step, at, keys, values in found]
