"""One page of the list of runs: which, in which order, parted by what, and the counts of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core import run as data
from finetop.core.filters.line import Filter, Sort, parse, read_sort, require_known
from finetop.core.protocol import Group, RunsAnswer
from finetop.core.store import filtered, jobs, runs, settings

if TYPE_CHECKING:
    import duckdb

LEFT_OUT = 10  # terms of a filter that hides all: so many are left out in turn


def page(
    connection: duckdb.DuckDBPyConnection,
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
    """Read one page of the list, with the counts of the whole.

    `why` says of some jobs why they wait, `wanted` which settings come with the rows. Raises BadInput.
    """
    line, by_key = parse(filter), read_sort(sort)
    line = line if line.sort is not None else replace(line, sort=by_key)
    total, need, running, queued = counts(connection)
    if total and (line.settings or line.metrics):
        require_known(
            line,
            settings.known_metrics(connection, line.metrics),
            settings.known(connection, line.settings),
        )
    waiting, waiting_checks = jobs.places(connection, why)
    listed = _List(connection, line, waiting, now)
    found = listed.ids(offset, limit)
    matching = total if not line.terms else found[0][2] if found else listed.count() if offset else 0
    rows = runs.rows(connection, [run_id for run_id, _, _ in found], waiting, waiting_checks)
    keys = tuple(dict.fromkeys([*line.settings, *wanted]))
    own = settings.of_runs(connection, [row.id for row in rows], keys)
    return RunsAnswer(
        rows=[
            msgspec.structs.replace(row, settings=own.get(row.id, {}), group=word or "")
            for row, (_, word, _) in zip(rows, found, strict=True)
        ],
        matching=matching,
        total=total,
        need_you=need,
        running=running,
        queued=queued,
        revision=revision,
        groups=listed.groups(list(dict.fromkeys(word for _, word, _ in found))) if line.group else [],
        without=listed.without() if total and not matching else [],
    )


def counts(connection: duckdb.DuckDBPyConnection) -> tuple[int, int, int, int]:
    """Count all runs, those that need a person, those that run and those that wait."""
    total, need, queued = _one(
        connection, "SELECT count(*), count(*) FILTER (rank = 0), count(*) FILTER (rank = 2) FROM runs"
    )
    # they are at the top of the list: the states of 100,000 that are done need not be read
    at_the_top = "(SELECT state FROM runs WHERE rank <= 1)"
    (running,) = _one(
        connection, f'SELECT count(*) FROM {at_the_top} WHERE starts_with(state, \'{{"type":"running"\')'
    )
    return total, need, running, queued


class _List:
    """The runs that a filter holds for, in their order."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        line: Filter,
        waiting: Mapping[int, data.Queued],
        now: float,
    ) -> None:
        self._connection, self._line, self._now = connection, line, now
        self._sort = line.sort or Sort()
        self._waiting = {run_id: queued.place for run_id, queued in waiting.items()}

    def ids(self, offset: int, limit: int) -> list[tuple[int, str | None, int]]:
        """Read a page as (number, group, how many match); without terms the last is 0."""
        statement = filtered.Statement()
        order = filtered.order(statement, self._sort, self._waiting)
        word = "NULL"
        if self._line.group:
            word, before = filtered.group(statement, self._line.group)
            order = [*before, *order]
        columns = ", ".join(f"{what} AS o{number}" for number, (what, _) in enumerate(order))
        ways = ", ".join(f"o{number} {way}" for number, (_, way) in enumerate(order))
        where = filtered.condition(statement, self._line, self._now)
        matching = "(SELECT count(*) FROM m)" if self._line.terms else "0"
        kept = "MATERIALIZED" if self._line.terms else ""
        return self._rows(
            f"WITH m AS {kept} (SELECT r.id, {word} AS word, {columns} FROM {statement.source} WHERE {where})"
            f" SELECT id, word, {matching} FROM m ORDER BY {ways} LIMIT {int(limit)} OFFSET {int(offset)}",
            statement,
        )

    def count(self, line: Filter | None = None) -> int:
        """Count the runs that a filter holds for."""
        statement = filtered.Statement()
        where = filtered.condition(statement, self._line if line is None else line, self._now)
        return int(self._rows(f"SELECT count(*) FROM {statement.source} WHERE {where}", statement)[0][0])

    def without(self) -> list[tuple[str, int]]:
        """Say for each term how many runs match without it."""
        terms = self._line.terms[:LEFT_OUT]
        lines = [replace(self._line, terms=tuple(one for one in terms if one is not left)) for left in terms]
        return [(left.typed, self.count(line)) for left, line in zip(terms, lines, strict=True)]

    def groups(self, words: Sequence[str | None]) -> list[Group]:
        """Compare groups by one number."""
        statement = filtered.Statement()
        key, number = filtered.measure(statement, self._sort)
        word, _ = filtered.group(statement, self._line.group)
        where = filtered.condition(statement, self._line, self._now)
        wanted = statement.value([one for one in words if one is not None])
        found = self._rows(
            f"WITH m AS (SELECT {word} AS word, CAST({number} AS DOUBLE) AS number"
            f" FROM {statement.source} WHERE {where})"
            " SELECT word, count(*), count(number), avg(number), stddev_samp(number)"
            f" FROM m WHERE word IN (SELECT unnest({wanted}::VARCHAR[])) OR word IS NULL GROUP BY word",
            statement,
        )
        groups = {
            one: Group(one or "", runs, key, measured, mean, spread)
            for one, runs, measured, mean, spread in found
        }
        return [groups[one] for one in words]

    def _rows(self, sql: str, statement: filtered.Statement) -> list[Any]:
        found: list[Any] = self._connection.execute(sql, statement.values or None).fetchall()
        return found


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] | None = connection.execute(sql).fetchone()
    assert found is not None
    return found
