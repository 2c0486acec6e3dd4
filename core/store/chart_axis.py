"""What curves are drawn over when that is not the step: tokens, time or epochs, as a run's rows tell them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetop.core.protocol.runs import Queued
from finetop.core.store import jobs

if TYPE_CHECKING:
    import duckdb

    from finetop.core.protocol.messages.runs import Across

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


@dataclass(frozen=True)
class Bins:
    """The columns of a chart as stretches of steps: `columns[i]` holds the steps from `begins[i]` to `ends[i]`."""

    columns: list[int]
    begins: list[int]
    ends: list[int]
    last_step: int  # that is drawn: all behind it where the axis ends behind them
    newest: float  # where on the axis the run stands


def bins(
    connection: duckdb.DuckDBPyConnection,
    run_id: int,
    across: Across,
    *,
    columns: int,
    first: float,
    last: float,
) -> Bins:
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
    return Bins(
        [line[0] for line in inside],
        [line[1] for line in inside],
        [line[2] for line in inside],
        2**31 - 1 if is_end and inside else last_inside,
        max((float(line[3]) for line in found), default=0.0),
    )


def _begun(connection: duckdb.DuckDBPyConnection, run_id: int) -> list[float]:
    """List when the jobs that train a run began."""
    states = [job.state for job in jobs.of_run(connection, run_id) if job.verb == "train"]
    since = [state.since for state in states if not isinstance(state, Queued)]
    return [at for at in since if at is not None]
