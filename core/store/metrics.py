"""Metric points in the store: min and max per column for charts, rows for `tail`."""

from __future__ import annotations

import duckdb

from finetop.core.protocol.messages.runs import Across, Curve, CurvesAnswer, StepRow
from finetop.core.store import chart_axis as axes

WIDEST_CHART = 2000  # columns
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
    columns = max(1, min(columns, WIDEST_CHART))
    chosen = "" if not keys else " AND key IN (SELECT unnest(?))"
    values: list[object] = [first, columns, width, columns - 1, run_id, first, last]
    return _read(
        connection,
        "least((step - ?)::BIGINT * ? // ?, ?)::INTEGER",
        f"metrics WHERE run_id = ? AND step BETWEEN ? AND ?{chosen}",
        [*values, keys] if keys else values,
    )


def curves_across(
    connection: duckdb.DuckDBPyConnection,
    run_id: int,
    keys: list[str],
    *,
    across: Across,
    columns: int,
    first: float,
    last: float,
) -> CurvesAnswer:
    """Bin each key's values over [first, last] tokens, epochs or seconds; with the steps that are in each column."""
    columns = max(1, min(columns, WIDEST_CHART))
    bins = axes.bins(connection, run_id, across, columns=columns, first=first, last=last)
    if not bins.columns:
        return CurvesAnswer([], None, bins.newest)
    chosen = "" if not keys else " AND key IN (SELECT unnest(?))"
    values: list[object] = [bins.begins, bins.columns, run_id, bins.last_step]
    found = _read(
        connection,
        "own.place",
        "metrics ASOF JOIN (SELECT unnest(?) AS begins, unnest(?) AS place) own ON metrics.step >= own.begins"
        f" WHERE run_id = ? AND step <= ?{chosen}",
        [*values, keys] if keys else values,
    )
    begins, ends = [float(step) for step in bins.begins], [float(step) for step in bins.ends]
    middles = [(begin + end) / 2 for begin, end in zip(begins, ends, strict=True)]
    steps = Curve("step", bins.columns, begins, ends, middles, bins.ends[-1], ends[-1], 0)
    return CurvesAnswer(found, steps, bins.newest)


def _read(connection: duckdb.DuckDBPyConnection, place: str, rows: str, values: list[object]) -> list[Curve]:
    """Read curves: `place` gives a row's column, `rows` says which rows of which table."""
    binned = connection.execute(
        f"SELECT key, {place} AS bin, min(value), max(value), avg(value),"
        " max(step), arg_max(value, step), count(*) - count(value)"
        f" FROM {rows} GROUP BY key, bin ORDER BY key, bin",
        values,
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
