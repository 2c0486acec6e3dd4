"""Data versions in the store: what each run read, and the numbered versions of each source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.features.data_versions.messages import DataVersion
from finetop.core.protocol.data_diff import Origin, SourceRow
from finetop.core.store import run_records
from finetop.core.store.database import one_value

_origin_of = msgspec.json.Decoder(Origin)

# What a SourceRow has as it is; then what more is known of it.
_READ = (
    'SELECT source, path, part, used_as AS use, rows, content, row_limit AS "limit", share, size, written, revision,'
    " fingerprint, sha256, job_id, placed, origin, time FROM data_sources WHERE run_id = ? ORDER BY rowid"
)

# A source is a file or a part of a data set, whole or its first rows; s is another table with the same columns.
_SAME = "v.path = s.path AND v.part = s.part AND v.row_limit IS NOT DISTINCT FROM s.row_limit"

_WHERE = "WHERE path = ? AND part = ? AND row_limit IS NOT DISTINCT FROM ?"

_LISTING = (
    "WITH v AS (SELECT *, max(number) OVER (PARTITION BY path, part, row_limit) AS newest FROM data_versions"
    " WHERE contains(lower(path), lower(?))),"
    " s AS (SELECT path, part, row_limit, content, count(DISTINCT run_id) AS runs, max(time) AS last_read,"
    " max_by(origin, time) AS origin,"
    " list_reverse_sort(list(DISTINCT run_id))[:?] AS newest_runs FROM data_sources GROUP BY ALL)"
    " SELECT v.path, v.part, v.row_limit, v.number, v.content, v.rows, v.first_seen, v.newest,"
    " coalesce(s.runs, 0), coalesce(s.newest_runs, []), coalesce(s.last_read, v.first_seen), s.origin"
    f" FROM v LEFT JOIN s ON {_SAME} AND v.content = s.content"
    " ORDER BY coalesce(s.last_read, v.first_seen) DESC, v.path, v.number DESC LIMIT ?"
)


def number_new(connection: Connection, read: Sequence[tuple[Any, ...]]) -> None:
    """Number contents (rows of data_sources) that were never seen of their source before."""
    seen_contents = {
        (path, part, limit, content): (rows, at)
        for _, _, at, _, path, part, _, rows, content, limit, *_ in read
    }
    numbered = "SELECT ?, ?, ?, coalesce(max(number), 0) + 1, ?, ?, ? FROM data_versions"
    for (path, part, limit, content), (rows, at) in seen_contents.items():
        if _version(connection, path, part, limit, content) is None:
            values = [path, part, limit, content, rows, at, path, part, limit]
            connection.execute(f"INSERT INTO data_versions {numbered} {_WHERE}", values)
            run_records.mark_home(connection)


def _version(
    connection: Connection, path: str, part: str, limit: int | None, content: str
) -> tuple[int, float] | None:
    """Return a content's version number and when it was first seen, or None."""
    query = f"SELECT number, first_seen FROM data_versions {_WHERE} AND content = ?"
    # read completely: while a row is left, no appender can be opened (an alarm in the same chunk)
    versions = connection.execute(query, [path, part, limit, content]).fetchall()
    return versions[0] if versions else None


def of_run(connection: Connection, run_id: int) -> list[SourceRow]:
    """List what the newest training job and the newest test job of a run read, in order.

    Each query reads a few rows of one table: 7 ms of CPU with 100,000 runs; one join took 20.
    """
    rows = connection.execute(_READ, [run_id]).fetchall()
    if not rows:
        return []
    columns = [column for column, *_ in connection.description]
    read = [dict(zip(columns, row, strict=True)) for row in rows]
    newest = {row["use"] == "test": row["job_id"] for row in sorted(read, key=itemgetter("job_id"))}
    created = "SELECT created FROM jobs WHERE id = ?"
    queued = {job: connection.execute(created, [job]).fetchone() for job in newest.values()}
    learned: dict[str, str] = {}
    reported = "SELECT source, fingerprint FROM data_reports WHERE run_id = ?"
    for source, fingerprint in connection.execute(reported, [run_id]).fetchall():
        learned[source] = fingerprint if source not in learned else ""  # two files with the same name
    return [
        _source(connection, row, learned, next(iter(queued[row["job_id"]] or ()), None))
        for row in sorted(read, key=lambda row: row["use"] == "test")
        if row["job_id"] == newest[row["use"] == "test"]
    ]


def _source(
    connection: Connection, row: dict[str, Any], learned: Mapping[str, str], queued: float | None
) -> SourceRow:
    path, part, limit = row["path"], row["part"], row["limit"]
    number, first_seen = _version(connection, path, part, limit, row["content"]) or (0, row["time"])
    newest = f"SELECT coalesce(max(number), 0) FROM data_versions {_WHERE}"
    origin, origin_number = _origin(connection, row["origin"])
    more = {
        "number": number,
        "newest": one_value(connection, newest, [path, part, limit]),
        "first_seen": first_seen,
        "after_queue": queued is not None and max(row["written"] or 0.0, row["placed"] or 0.0) > queued,
        "learned": learned.get(row["source"], ""),
        "origin": origin,
        "origin_number": origin_number,
    }
    return msgspec.convert(row | more, SourceRow)


def _origin(connection: Connection, text: str | None) -> tuple[Origin | None, int]:
    """Return what a file was made of, and the version of that; 0 if no run has read it."""
    if text is None:
        return None, 0
    origin = _origin_of.decode(text)
    versions = f"data_sources s JOIN data_versions v ON {_SAME} AND v.content = s.content"
    query = f"SELECT coalesce(max(v.number), 0) FROM {versions} WHERE s.path = ? AND s.sha256 = ?"
    return origin, int(one_value(connection, query, [origin.path, origin.sha256]))


def system_prompt(connection: Connection, run_id: int) -> str | None:
    """Return the system prompt of most rows that a run was trained on, empty for none; None if it was not recorded."""
    query = (
        "SELECT system FROM data_sources WHERE run_id = ? AND used_as = 'train'"
        " ORDER BY job_id DESC, rows DESC LIMIT 1"
    )
    newest = connection.execute(query, [run_id]).fetchall()
    return newest[0][0] if newest else None


def previous_version(connection: Connection, row: SourceRow) -> tuple[int, str, str] | None:
    """Return the version before a run's: its number, its content, and a run that read it ('' if none is left)."""
    query = f"SELECT number, content FROM data_versions {_WHERE} AND number < ? ORDER BY number DESC LIMIT 1"
    before = connection.execute(query, [row.path, row.part, row.limit, row.number]).fetchone()
    if before is None:
        return None
    return int(before[0]), str(before[1]), next(iter(_readers(connection, before[1], "name")), "")


def number_of(connection: Connection, row: SourceRow, content: str) -> int:
    """Return the version number of another content of the same source; 0 if no run has read it."""
    return (_version(connection, row.path, row.part, row.limit, content) or (0, 0.0))[0]


def folders_with(connection: Connection, content: str) -> list[str]:
    """List the folders of runs that read this content, newest first: each holds the hashes of its rows."""
    return _readers(connection, content, "folder")


def _readers(connection: Connection, content: str, column: str) -> list[str]:
    """Read a column of the runs that read a content, the newest run first."""
    readers = "data_sources s JOIN runs r ON r.id = s.run_id WHERE s.content = ?"
    query = f"SELECT DISTINCT r.id, r.{column} FROM {readers} ORDER BY r.id DESC LIMIT 20"
    return [value for _, value in connection.execute(query, [content]).fetchall()]


def listing(
    connection: Connection, part_of_path: str, limit: int, most_runs: int
) -> tuple[list[DataVersion], int]:
    """List versions, last read first, each with the newest runs that read it; and the total number."""
    rows = connection.execute(_LISTING, [part_of_path, most_runs, limit]).fetchall()
    query = "SELECT count(*) FROM data_versions WHERE contains(lower(path), lower(?))"
    return [_listed(connection, row) for row in rows], int(one_value(connection, query, [part_of_path]))


def _listed(connection: Connection, row: tuple[Any, ...]) -> DataVersion:
    *facts, newest, last_read, origin = row
    query = "SELECT id, name FROM runs WHERE id IN (SELECT unnest(?::INTEGER[]))"
    names = dict(connection.execute(query, [newest]).fetchall())
    named = [names[run_id] for run_id in newest if run_id in names]
    return DataVersion(*(*facts, named, last_read, *_origin(connection, origin)))


ROWS = {"data_sources": number_new}
DETAIL = {"sources": of_run}
