"""Alarms in the store: raised, closed, and dropped or closed when a run goes back behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import events, runs as data
from finetop.core.store import notices
from finetop.core.store.database import append, one_value, read_as

LISTED = 100
STEP, OVER = 2, 5  # places in a row of the step, and of the step at which the alarm closed
_CLOSE_ALL = "UPDATE alarms SET over_step = least(coalesce(over_step, $1), $1) WHERE run_id = $2"
_CLOSE = "UPDATE alarms SET over_step = ? WHERE run_id = ? AND kind = ? AND over_step IS NULL"


@dataclass
class AlarmBatch:
    """A batch's alarms of a run, in order; ten thousand of them cost one append."""

    rows: list[list[Any]] = field(default_factory=list)  # in the table's columns
    closings: list[tuple[str | None, int]] = field(default_factory=list)  # of those kept: kind or all, step
    closed: set[str] = field(default_factory=set)  # kinds in closings since the run last went back
    opened: set[str] = field(default_factory=set)  # kinds of open alarms in `rows`
    heard: list[notices.New] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.rows or self.closings)

    def add(self, run_id: int, at: float, event: events.Alarm) -> None:
        """Add an alarm, or close all of its kind."""
        if not event.over:
            self.rows.append([run_id, event.kind, event.step, event.text, at, None])
            self.opened.add(event.kind)
            self.heard.append(notices.New(run_id, event.kind, event.step, event.text, at))
            return
        if event.kind in self.opened:
            self.opened.remove(event.kind)
            for row in self.rows:
                if row[1] == event.kind and row[OVER] is None:
                    row[OVER] = event.step
        if event.kind not in self.closed:
            self.closed.add(event.kind)
            self.closings.append((event.kind, event.step))
        self.heard.append(notices.New(run_id, "over", event.step, event.text, at))

    def go_back(self, step: int) -> None:
        """Drop alarms of later steps and close the others: the detectors restart without memory of them."""
        self.rows = [row for row in self.rows if row[STEP] <= step]
        for row in self.rows:
            row[OVER] = step if row[OVER] is None else min(row[OVER], step)
        self.closings.append((None, step))
        self.closed.clear()
        self.opened.clear()

    def write(self, connection: Connection, run_id: int) -> None:
        """Write everything inside the caller's transaction; stored alarms of later steps are already deleted."""
        for kind, step in self.closings:
            if kind is None:
                connection.execute(_CLOSE_ALL, [step, run_id])
            else:
                connection.execute(_CLOSE, [step, run_id, kind])
        append(connection, "alarms", self.rows)


def of_run(connection: Connection, run_id: int) -> list[data.AlarmRow]:
    """List a run's alarms, newest last; only the newest LISTED."""
    newest = f"run_id = ? ORDER BY time DESC, rowid DESC LIMIT {LISTED}"
    query = f"SELECT kind, step, text, time, over_step FROM alarms WHERE {newest}"
    return read_as(connection, data.AlarmRow, query, [run_id])[::-1]


def count_of(connection: Connection, run_id: int) -> int:
    return int(one_value(connection, "SELECT count(*) FROM alarms WHERE run_id = ?", [run_id]))


def any_open(connection: Connection, run_id: int) -> bool:
    """Return True if a run has an open alarm."""
    is_open = "SELECT count(*) FROM alarms WHERE run_id = ? AND over_step IS NULL"
    return bool(one_value(connection, is_open, [run_id]))


def newest_open(connection: Connection, run_ids: Sequence[int]) -> dict[int, str]:
    """Map runs to the text of their newest open alarm."""
    condition = "over_step IS NULL AND run_id IN (SELECT unnest(?))"
    query = f"SELECT run_id, arg_max(text, time) FROM alarms WHERE {condition} GROUP BY run_id"
    return dict(connection.execute(query, [list(run_ids)]).fetchall())
