"""Metric points in the store: min and max per column for charts, over steps, tokens, time or epochs; `tail`'s rows."""

from __future__ import annotations

from dataclasses import dataclass

from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol.messages.runs import Across, Curve, CurvesAnswer, StepRow
from finetop.core.protocol.runs import Queued
from finetop.core.store import jobs

WIDEST_CHART = 2000  # columns
WIDEST = 64  # times as many steps are looked through at once as are wanted
# A count that begins anew after a resume goes on from where it was.
_COUNTED = (
    "told AS (SELECT step, max(value) AS value FROM metrics"
    " WHERE run_id = ? AND key = ? AND value IS NOT NULL GROUP BY step),"
    " grown AS (SELECT step, value, lag(value, 1, 0) OVER (ORDER BY step) AS before FROM told),"
    " axis AS (SELECT step, sum(CASE WHEN value < before THEN value ELSE value - before END)"
    " OVER (ORDER BY step) AS x FROM grown"
    " UNION ALL SELECT 0, 0 WHERE NOT EXISTS (FROM told WHERE step = 0))"
)
_PASSED = (
    "told AS (SELECT step, max(time) AS time FROM metrics WHERE run_id = ? GROUP BY step),"
    " gaps AS (SELECT step, time - lag(time) OVER (PARTITION BY {part} ORDER BY step) AS gap FROM told),"
    " axis AS (SELECT step, sum(greatest(coalesce(gap, 0), 0)) OVER (ORDER BY step) AS x FROM gaps)"
)


def curves(
    connection: Connection,
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
    connection: Connection,
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
    chart = _bins(connection, run_id, across, columns=columns, first=first, last=last)
    if not chart.columns:
        return CurvesAnswer([], None, chart.newest)
    chosen = "" if not keys else " AND key IN (SELECT unnest(?))"
    values: list[object] = [chart.begins, chart.columns, run_id, chart.last_step]
    found = _read(
        connection,
        "own.place",
        "metrics ASOF JOIN (SELECT unnest(?) AS begins, unnest(?) AS place) own ON metrics.step >= own.begins"
        f" WHERE run_id = ? AND step <= ?{chosen}",
        [*values, keys] if keys else values,
    )
    begins, ends = [float(step) for step in chart.begins], [float(step) for step in chart.ends]
    middles = [(begin + end) / 2 for begin, end in zip(begins, ends, strict=True)]
    steps = Curve("step", chart.columns, begins, ends, middles, chart.ends[-1], ends[-1], 0)
    return CurvesAnswer(found, steps, chart.newest)


def _read(connection: Connection, place: str, rows: str, values: list[object]) -> list[Curve]:
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


def steps(connection: Connection, run_id: int, *, after: int, limit: int) -> list[StepRow]:
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


def _stretch(connection: Connection, run_id: int, after: int, until: int) -> list[StepRow]:
    found = connection.execute(
        "SELECT step, max(time), list(key ORDER BY key), list(value ORDER BY key) FROM metrics"
        " WHERE run_id = ? AND step > ? AND step <= ? GROUP BY step ORDER BY step",
        [run_id, after, until],
    ).fetchall()
    return [StepRow(step, at, dict(zip(keys, values, strict=True))) for step, at, keys, values in found]


@dataclass(frozen=True)
class _Bins:
    """The columns of a chart as stretches of steps: `columns[i]` holds the steps from `begins[i]` to `ends[i]`."""

    columns: list[int]
    begins: list[int]
    ends: list[int]
    last_step: int  # that is drawn: all behind it where the axis ends behind them
    newest: float  # where on the axis the run stands


def _bins(
    connection: Connection,
    run_id: int,
    across: Across,
    *,
    columns: int,
    first: float,
    last: float,
) -> _Bins:
    """Divide [first, last] tokens, epochs or seconds of training into columns, and tell which steps are in each.

    Seconds count from the first number; between two jobs of a run none pass.
    """
    values: list[object]
    if across == "time":
        begun = _begun(connection, run_id)
        part = " + ".join("(time >= ?)::INTEGER" for _ in begun) or "0"
        axis, values = _PASSED.format(part=part), [run_id, *begun]
    else:
        axis, values = _COUNTED, [run_id, across]
    width = max(last - first, 1e-9)
    found = connection.execute(
        f"WITH {axis} SELECT CASE WHEN x BETWEEN ? AND ?"
        " THEN least(floor((x - ?) / ? * ?), ?)::INTEGER END AS bin, min(step), max(step), max(x)"
        " FROM axis GROUP BY bin ORDER BY min(step)",
        [*values, first, last, first, width, columns, columns - 1],
    ).fetchall()
    inside = [line for line in found if line[0] is not None]
    last_inside = max((line[2] for line in inside), default=-1)
    is_end = all(line[2] <= last_inside for line in found)
    return _Bins(
        [line[0] for line in inside],
        [line[1] for line in inside],
        [line[2] for line in inside],
        2**31 - 1 if is_end and inside else last_inside,
        max((float(line[3]) for line in found), default=0.0),
    )


def _begun(connection: Connection, run_id: int) -> list[float]:
    """List when the jobs that train a run began."""
    states = [job.state for job in jobs.of_run(connection, run_id) if job.verb == "train"]
    since = [state.since for state in states if not isinstance(state, Queued)]
    return [at for at in since if at is not None]
