"""Metric points in the store: min and max per column for charts, over steps, tokens, time or epochs; `tail`'s rows."""

from __future__ import annotations

from dataclasses import dataclass

from duckdb import DuckDBPyConnection as Connection
from msgspec.structs import replace

from finetop.core.protocol.messages.runs import Across, Curve, CurvesAnswer, StepRow
from finetop.core.protocol.runs import Queued
from finetop.core.store import jobs
from finetop.core.store.database import one_value

WIDEST_CHART = 2000  # columns
# of an axis of tokens or time; 8 curves of 2,000,000 steps, each a place, took more than 64 MB
PLACES = 20_000
WIDEST = 64  # most steps searched at once, as a multiple of the limit
# A counter that restarts after a resume continues from its last value.
_COUNTED = (
    "told AS (SELECT step // {stretch} * {stretch} AS step, max(value) AS value FROM metrics"
    " WHERE run_id = ? AND key = ? AND value IS NOT NULL GROUP BY ALL),"
    " grown AS (SELECT step, value, lag(value, 1, 0) OVER (ORDER BY step) AS before FROM told),"
    " axis AS (SELECT step, sum(CASE WHEN value < before THEN value ELSE value - before END)"
    " OVER (ORDER BY step) AS x FROM grown"
    " UNION ALL SELECT 0, 0 WHERE NOT EXISTS (FROM told WHERE step = 0))"
)
_PASSED = (
    "told AS (SELECT step // {stretch} * {stretch} AS step, max(time) AS time FROM metrics WHERE run_id = ?"
    " GROUP BY ALL),"
    " gaps AS (SELECT step, time - lag(time) OVER (PARTITION BY {part} ORDER BY step) AS gap FROM told),"
    " axis AS (SELECT step, sum(greatest(coalesce(gap, 0), 0)) OVER (ORDER BY step) AS x FROM gaps)"
)


def curves(
    connection: Connection, run_id: int, keys: list[str], *, columns: int, first: int, last: int
) -> list[Curve]:
    """Bin values over [first, last] steps into `columns`, for charts; an empty `keys` means all keys of the run."""
    width = max(last - first, 1)
    columns = max(1, min(columns, WIDEST_CHART))
    query = (
        "SELECT key, least((step - ?)::BIGINT * ? // ?, ?)::INTEGER AS bin, min(value), max(value), avg(value),"
        " max(step), arg_max(value, step), count(*) - count(value), count(value), max(step) FILTER (value IS NOT NULL)"
        f" FROM metrics WHERE run_id = ? AND step BETWEEN ? AND ?{_chosen(keys)} GROUP BY key, bin ORDER BY key, bin"
    )
    values: list[object] = [first, columns, width, columns - 1, run_id, first, last]
    return _build_curves(connection, query, [*values, keys] if keys else values)


def _chosen(keys: list[str]) -> str:
    return " AND key IN (SELECT unnest(?))" if keys else ""


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
    """Bin each key's values over [first, last] tokens, epochs or seconds; adds the steps of each column."""
    columns = max(1, min(columns, WIDEST_CHART))
    chart = _bins(connection, run_id, across, columns=columns, first=first, last=last)
    if not chart.columns:
        return CurvesAnswer([], None, chart.newest)
    query = (
        "WITH told AS (SELECT key, step // ? AS place, min(step) AS begin, max(step) AS step, min(value) AS low,"
        " max(value) AS high, sum(value) AS total, count(value) AS good, count(*) AS count,"
        " arg_max(value, step) AS newest, max(step) FILTER (value IS NOT NULL) AS last_good"
        f" FROM metrics WHERE run_id = ? AND step <= ?{_chosen(keys)} GROUP BY key, place)"
        " SELECT key, own.bin, min(low), max(high), sum(total) / sum(good), max(step), arg_max(newest, step),"
        " sum(count - good)::INTEGER, sum(good)::INTEGER, max(last_good)"
        " FROM told ASOF JOIN (SELECT unnest(?) AS begins, unnest(?) AS bin) own ON told.begin >= own.begins"
        " GROUP BY key, own.bin ORDER BY key, own.bin"
    )
    values = [chart.stretch, run_id, chart.last_step, *([keys] if keys else []), chart.begins, chart.columns]
    binned = _build_curves(connection, query, values)
    begins, ends = [float(step) for step in chart.begins], [float(step) for step in chart.ends]
    middles = [(begin + end) / 2 for begin, end in zip(begins, ends, strict=True)]
    steps = Curve("step", chart.columns, begins, ends, middles, chart.ends[-1], ends[-1], 0)
    return CurvesAnswer(binned, steps, chart.newest)


def _build_curves(connection: Connection, query: str, values: list[object]) -> list[Curve]:
    """Build curves from a query's rows, one per key and column."""
    binned = connection.execute(query, values).fetchall()
    by_key: dict[str, Curve] = {}
    for key, column, low, high, mean, step, newest, bad, count, own_step in binned:
        old = by_key.get(key) or Curve(key, [], [], [], [], 0, None, 0, [], [])
        if low is not None:
            old.column.append(column)
            old.low.append(low)
            old.high.append(high)
            old.mean.append(mean)
            old.count.append(count)
            old.step.append(own_step)
        last_value = old.last_value if newest is None else newest
        by_key[key] = replace(old, last_step=step, last_value=last_value, bad=old.bad + bad)
    return list(by_key.values())


def steps(connection: Connection, run_id: int, *, after: int, limit: int) -> list[StepRow]:
    """Read the metric rows of up to `limit` steps after one, oldest first.

    Read in ranges of steps: sorting all 7 million rows of a week took 10 s of CPU, then ran out of memory.
    """
    step_rows: list[StepRow] = []
    width = limit
    while len(step_rows) < limit:
        rows = _stretch(connection, run_id, after, after + width)
        step_rows += rows[: limit - len(step_rows)]
        after += width
        if not rows:  # nothing nearby: jump to the next step with rows
            later = "SELECT min(step) FROM metrics WHERE run_id = ? AND step > ?"
            if (nearest := one_value(connection, later, [run_id, after])) is None:
                break
            after = nearest - 1
        elif 4 * len(rows) < width < WIDEST * limit:  # not every step has rows
            width *= 4
    return step_rows


def _stretch(connection: Connection, run_id: int, after: int, until: int) -> list[StepRow]:
    rows = connection.execute(
        "SELECT step, max(time), list(key ORDER BY key), list(value ORDER BY key) FROM metrics"
        " WHERE run_id = ? AND step > ? AND step <= ? GROUP BY step ORDER BY step",
        [run_id, after, until],
    ).fetchall()
    return [StepRow(step, at, dict(zip(keys, values, strict=True))) for step, at, keys, values in rows]


@dataclass(frozen=True)
class _Bins:
    """The columns of a chart as ranges of steps: `columns[i]` holds the steps from `begins[i]` to `ends[i]`."""

    columns: list[int]
    begins: list[int]
    ends: list[int]
    last_step: int  # last one drawn; unlimited if the axis ends beyond all steps
    newest: float  # the run's position on the axis
    stretch: int  # steps per point


def _bins(
    connection: Connection, run_id: int, across: Across, *, columns: int, first: float, last: float
) -> _Bins:
    """Divide [first, last] tokens, epochs or seconds of training into columns, with the steps of each.

    Seconds count from the first metric; time between two jobs of a run does not count.
    """
    values: list[object]
    newest = one_value(connection, "SELECT coalesce(max(step), 0) FROM metrics WHERE run_id = ?", [run_id])
    stretch = 1 + int(newest) // PLACES
    if across == "time":
        starts = _job_starts(connection, run_id)
        part = " + ".join("(time >= ?)::INTEGER" for _ in starts) or "0"
        axis, values = _PASSED.format(stretch=stretch, part=part), [run_id, *starts]
    else:
        axis, values = _COUNTED.format(stretch=stretch), [run_id, across]
    width = max(last - first, 1e-9)
    bins = connection.execute(
        f"WITH {axis} SELECT CASE WHEN x BETWEEN ? AND ?"
        " THEN least(floor((x - ?) / ? * ?), ?)::INTEGER END AS bin, min(step), max(step), max(x)"
        " FROM axis GROUP BY bin ORDER BY min(step)",
        [*values, first, last, first, width, columns, columns - 1],
    ).fetchall()
    inside = [line for line in bins if line[0] is not None]
    last_inside = max((line[2] for line in inside), default=-1)
    is_end = all(line[2] <= last_inside for line in bins)
    last_step = 2**31 - 1 if is_end and inside else last_inside
    newest = max((float(line[3]) for line in bins), default=0.0)
    numbers, begins, ends = ([line[at] for line in inside] for at in range(3))
    return _Bins(numbers, begins, ends, last_step, newest, stretch)


def _job_starts(connection: Connection, run_id: int) -> list[float]:
    """List when a run's training jobs started."""
    states = [job.state for job in jobs.of_run(connection, run_id) if job.kind.reports_steps]
    since = [state.since for state in states if not isinstance(state, Queued)]
    return [at for at in since if at is not None]
