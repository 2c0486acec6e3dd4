"""One page of the list of runs: filtered, sorted and grouped, with the totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.runs import Group, RunsAnswer
from finetop.core.protocol.run_filter import Filter, Sort, parse, read_sort, require_known
from finetop.core.store import filter_sql, jobs, recipe_settings, runs
from finetop.core.store.database import one_row

LARGEST = 1e100  # largest number in comparisons
_OF_GROUP = (
    ", g.runs, g.measured, g.mean, g.spread FROM p JOIN (SELECT word AS of_group, count(*) AS runs,"
    " count(number) AS measured, avg(number) AS mean, stddev_samp(number) AS spread FROM m GROUP BY word) g"
    " ON g.of_group IS NOT DISTINCT FROM p.word"
)
LEFT_OUT = 10  # terms of a filter that hides everything: this many are left out in turn


def page(
    connection: Connection,
    *,
    filter: str,
    sort: str,
    offset: int,
    limit: int,
    revision: int,
    now: float,
    why: Mapping[int, str] | None = None,
    wanted: Sequence[str] = (),
) -> RunsAnswer:
    """Read one page of the list: `why` says why jobs wait, `wanted` names settings to include. Raises BadInput."""
    line, by_key = parse(filter), read_sort(sort)
    line = line if line.sort is not None else replace(line, sort=by_key)
    total, need = counts(connection)
    running, queued = jobs.counts(connection)
    if total and (line.settings or line.metrics):
        known_metrics = recipe_settings.known_metrics(connection, line.metrics)
        require_known(line, known_metrics, recipe_settings.known_settings(connection, line.settings))
    waiting, waiting_others = jobs.places(connection, why)
    listed = _List(connection, line, waiting, now)
    listed_rows = listed.page(offset, limit)
    matching = total
    if line.terms and listed_rows:
        matching = listed_rows[0].matching
    elif line.terms:
        matching = listed.count() if offset else 0
    shown = [listed_row.run_id for listed_row in listed_rows]
    own = recipe_settings.of_runs(connection, shown, tuple(dict.fromkeys([*line.settings, *wanted])))
    rows = runs.rows(connection, shown, waiting, waiting_others)
    return RunsAnswer(
        rows=[
            msgspec.structs.replace(row, settings=own.get(row.id, {}), group=listed_row.word or "")
            for row, listed_row in zip(rows, listed_rows, strict=True)
        ],
        matching=matching,
        total=total,
        need_you=need,
        jobs=running,
        queued=queued,
        revision=revision,
        groups=listed.groups(listed_rows),
        without=listed.without() if total and not matching else [],
    )


def counts(connection: Connection) -> tuple[int, int]:
    """Return the number of all runs, and of those that need attention."""
    total, need = one_row(connection, "SELECT count(*), count(*) FILTER (rank = 0) FROM runs")
    return total, need


@dataclass(frozen=True, slots=True)
class _Listed:
    """One row of a page, before its run is read."""

    run_id: int
    word: str | None  # of its group
    matching: int  # runs that match the filter; 0 without terms
    runs: int = 0  # of its group, as all that follow
    measured: int = 0
    mean: float | None = None
    spread: float | None = None


def _bounded(number: str) -> str:
    """Ignore numbers whose squares overflow, so that mean and spread of the others can be computed."""
    bounded = f"CASE WHEN abs({number}) <= {LARGEST} THEN CAST({number} AS DOUBLE) END"
    return number if number == "NULL" else bounded


class _List:
    """The runs that match a filter, in order."""

    def __init__(
        self, connection: Connection, line: Filter, waiting: Mapping[int, data.Queued], now: float
    ) -> None:
        self._connection, self._line, self._now = connection, line, now
        self._sort = line.sort or Sort()
        self._waiting = {run_id: queued.place for run_id, queued in waiting.items()}

    def page(self, offset: int, limit: int) -> list[_Listed]:
        """Read a page in one query: each row's run id, its group and the group's statistics."""
        statement = filter_sql.Statement()
        order = filter_sql.order(statement, self._sort, self._waiting)
        word = number = "NULL"
        if self._line.group:
            word, before = filter_sql.group(statement, self._line.group)
            order = [*before, *order]
            number = filter_sql.measure(statement, self._sort)[1]
        columns = ", ".join(f"{expression} AS o{place}" for place, (expression, _) in enumerate(order))
        ways = ", ".join(f"o{place} {way}" for place, (_, way) in enumerate(order))
        condition = filter_sql.condition(statement, self._line, self._now)
        matching = "(SELECT count(*) FROM m)" if self._line.terms else "0"
        materialized = "MATERIALIZED" if self._line.terms or self._line.group else ""
        rows = self._rows(
            f"WITH m AS {materialized} (SELECT r.id, {word} AS word, {_bounded(number)} AS number, {columns}"
            f" FROM {statement.source} WHERE {condition}),"
            f" p AS (SELECT * FROM m ORDER BY {ways} LIMIT {int(limit)} OFFSET {int(offset)})"
            f" SELECT id, word, {matching}{_OF_GROUP if self._line.group else ' FROM p'} ORDER BY {ways}",
            statement,
        )
        return [_Listed(*row) for row in rows]

    def count(self, line: Filter | None = None) -> int:
        """Count the runs that match a filter."""
        statement = filter_sql.Statement()
        condition = filter_sql.condition(statement, self._line if line is None else line, self._now)
        return int(self._rows(f"SELECT count(*) FROM {statement.source} WHERE {condition}", statement)[0][0])

    def without(self) -> list[tuple[str, int]]:
        """Return for each term how many runs match without it."""
        without = []
        for omitted in self._line.terms[:LEFT_OUT]:
            others = tuple(term for term in self._line.terms if term is not omitted)
            without.append((omitted.typed, self.count(replace(self._line, terms=others))))
        return without

    def groups(self, page_rows: Sequence[_Listed]) -> list[Group]:
        """Return the groups of a page, in its order."""
        if not self._line.group:
            return []
        key, _ = filter_sql.measure(filter_sql.Statement(), self._sort)
        groups = {row.word: row for row in page_rows}.values()
        return [Group(row.word or "", row.runs, key, row.measured, row.mean, row.spread) for row in groups]

    def _rows(self, sql: str, statement: filter_sql.Statement) -> list[Any]:
        rows: list[Any] = self._connection.execute(sql, statement.values or None).fetchall()
        return rows
