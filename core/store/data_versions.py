"""Data versions in the store: what each run read, and the numbered versions of each source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol.data_diff import Origin, SourceRow
from finetop.core.protocol.messages.data_versions import DataVersion
from finetop.core.store import run_records
from finetop.core.store.database import one_value

_json = msgspec.json.Decoder(Origin)

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
    is_new = False
    for (path, part, limit, content), (rows, at) in seen_contents.items():
        if _version(connection, path, part, limit, content) is not None:
            continue
        connection.execute(
            "INSERT INTO data_versions SELECT ?, ?, ?, coalesce(max(number), 0) + 1, ?, ?, ?"
            f" FROM data_versions {_WHERE}",
            [path, part, limit, content, rows, at, path, part, limit],
        )
        is_new = True
    if is_new:
        run_records.mark_home(connection)


def _version(
    connection: Connection, path: str, part: str, limit: int | None, content: str
) -> tuple[int, float] | None:
    """Return a content's version number and when it was first seen, or None."""
    versions = (
        connection.execute(
            f"SELECT number, first_seen FROM data_versions {_WHERE} AND content = ?",
            [path, part, limit, content],
        ).fetchall()
    )  # read completely: while a row is left, no appender can be opened (an alarm in the same chunk)
    return versions[0] if versions else None


def of_run(connection: Connection, run_id: int) -> list[SourceRow]:
    """List what the newest training job and the newest test job of a run read, in order.

    Each query reads a few rows of one table: 7 ms of CPU with 100,000 runs; one join took 20.
    """
    read = connection.execute(
        "SELECT job_id, source, path, part, used_as, rows, content, row_limit, share, size, written, placed, revision,"
        " fingerprint, sha256, origin, time FROM data_sources WHERE run_id = ? ORDER BY rowid",
        [run_id],
    ).fetchall()
    if not read:
        return []
    newest = {row[4] == "test": row[0] for row in sorted(read, key=itemgetter(0))}
    queued = {
        job: connection.execute("SELECT created FROM jobs WHERE id = ?", [job]).fetchone()
        for job in newest.values()
    }
    learned: dict[str, str] = {}
    for source, fingerprint in connection.execute(
        "SELECT source, fingerprint FROM data_reports WHERE run_id = ?", [run_id]
    ).fetchall():
        learned[source] = fingerprint if source not in learned else ""  # two files with the same name
    return [
        _source(connection, row[1:], learned, next(iter(queued[row[0]] or ()), None))
        for row in sorted(read, key=lambda row: row[4] == "test")
        if row[0] == newest[row[4] == "test"]
    ]


def _source(
    connection: Connection,
    row: tuple[Any, ...],
    learned: Mapping[str, str],
    queued: float | None,
) -> SourceRow:
    source, path, part, use, rows, content, limit, share, size, written, placed, *more = row
    revision, fingerprint, sha256, origin, time = more
    number, first_seen = _version(connection, path, part, limit, content) or (0, time)
    newest = one_value(
        connection, f"SELECT coalesce(max(number), 0) FROM data_versions {_WHERE}", [path, part, limit]
    )
    of, of_number = _origin(connection, origin)
    return SourceRow(
        source=source,
        path=path,
        part=part,
        use=use,
        rows=rows,
        content=content,
        limit=limit,
        share=share,
        size=size,
        written=written,
        revision=revision,
        fingerprint=fingerprint,
        number=number,
        newest=int(newest),
        first_seen=first_seen,
        after_queue=queued is not None and max(written or 0.0, placed or 0.0) > queued,
        learned=learned.get(source, ""),
        origin=of,
        origin_number=of_number,
        sha256=sha256,
    )


def _origin(connection: Connection, text: str | None) -> tuple[Origin | None, int]:
    """Return what a file was made of, and the version of that; 0 if no run has read it."""
    if text is None:
        return None, 0
    origin = _json.decode(text)
    number = one_value(
        connection,
        "SELECT coalesce(max(v.number), 0) FROM data_sources s JOIN data_versions v ON"
        f" {_SAME} AND v.content = s.content WHERE s.path = ? AND s.sha256 = ?",
        [origin.path, origin.sha256],
    )
    return origin, int(number)


def previous_version(connection: Connection, row: SourceRow) -> tuple[int, str, str] | None:
    """Return the version before a run's: its number, its content, and a run that read it ('' if none is left)."""
    row_before = connection.execute(
        f"SELECT number, content FROM data_versions {_WHERE} AND number < ? ORDER BY number DESC LIMIT 1",
        [row.path, row.part, row.limit, row.number],
    ).fetchone()
    if row_before is None:
        return None
    names = _names(connection, row_before[1])
    return int(row_before[0]), str(row_before[1]), names[-1] if names else ""


def number_of(connection: Connection, row: SourceRow, content: str) -> int:
    """Return the version number of another content of the same source; 0 if no run has read it."""
    return (_version(connection, row.path, row.part, row.limit, content) or (0, 0.0))[0]


def folders_with(connection: Connection, content: str) -> list[str]:
    """List the folders of runs that read this content, newest first: each holds the hashes of its rows."""
    rows = connection.execute(
        "SELECT DISTINCT r.id, r.folder FROM data_sources s JOIN runs r ON r.id = s.run_id WHERE s.content = ?"
        " ORDER BY r.id DESC LIMIT 20",
        [content],
    ).fetchall()
    return [folder for _, folder in rows]


def _names(connection: Connection, content: str) -> list[str]:
    rows = connection.execute(
        "SELECT DISTINCT r.id, r.name FROM data_sources s JOIN runs r ON r.id = s.run_id WHERE s.content = ?"
        " ORDER BY r.id",
        [content],
    ).fetchall()
    return [name for _, name in rows]


def listing(
    connection: Connection, part_of_path: str, limit: int, most_runs: int
) -> tuple[list[DataVersion], int]:
    """List versions, last read first, each with the newest runs that read it; and the total number."""
    rows = connection.execute(_LISTING, [part_of_path, most_runs, limit]).fetchall()
    total = one_value(
        connection, "SELECT count(*) FROM data_versions WHERE contains(lower(path), lower(?))", [part_of_path]
    )
    return [_listed(connection, row) for row in rows], int(total)


def _listed(connection: Connection, row: tuple[Any, ...]) -> DataVersion:
    *facts, newest, last_read, origin = row
    query = "SELECT id, name FROM runs WHERE id IN (SELECT unnest(?::INTEGER[]))"
    names = dict(connection.execute(query, [newest]).fetchall())
    named = [names[run_id] for run_id in newest if run_id in names]
    return DataVersion(*(*facts, named, last_read, *_origin(connection, origin)))
