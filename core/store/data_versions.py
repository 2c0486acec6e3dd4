"""Versions of data in the store: what each run read, and the versions of each source, numbered as they were seen."""

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

# A source is a file, or a part of a data set, whole or its first rows; the same of a table s.
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
    """Number what was read (rows of data_sources) where that content was never seen of its source before."""
    told = {
        (path, part, limit, content): (rows, at)
        for _, _, at, _, path, part, _, rows, content, limit, *_ in read
    }
    is_new = False
    for (path, part, limit, content), (rows, at) in told.items():
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
    """Find the number of a content, and when it was seen first."""
    versions = (
        connection.execute(
            f"SELECT number, first_seen FROM data_versions {_WHERE} AND content = ?",
            [path, part, limit, content],
        ).fetchall()
    )  # to the end: while a row is left to fetch, no appender can be opened (an alarm in the same chunk)
    return versions[0] if versions else None


def of_run(connection: Connection, run_id: int) -> list[SourceRow]:
    """List what the newest job that read data read for a run, and the newest that read its test, in their order.

    Each question is of one table and a few of its rows: 7 ms of a processor with 100,000 runs; one join took 20.
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
        learned[source] = fingerprint if source not in learned else ""  # two files of one name
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
    """Read what a file was made of, and which version that was; 0 where no run has read it."""
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


def before(connection: Connection, row: SourceRow) -> tuple[int, str, str] | None:
    """Return the version before a run's: its number, its content, and a run that read it ('' where none is left)."""
    found = connection.execute(
        f"SELECT number, content FROM data_versions {_WHERE} AND number < ? ORDER BY number DESC LIMIT 1",
        [row.path, row.part, row.limit, row.number],
    ).fetchone()
    if found is None:
        return None
    names = _names(connection, found[1])
    return int(found[0]), str(found[1]), names[-1] if names else ""


def number_of(connection: Connection, row: SourceRow, content: str) -> int:
    """Return the number that another content of the same source has; 0 where no run has read it."""
    return (_version(connection, row.path, row.part, row.limit, content) or (0, 0.0))[0]


def folders_with(connection: Connection, content: str) -> list[str]:
    """List the folders of runs that read this content: each keeps the hashes of its rows. The newest is first."""
    found = connection.execute(
        "SELECT DISTINCT r.id, r.folder FROM data_sources s JOIN runs r ON r.id = s.run_id WHERE s.content = ?"
        " ORDER BY r.id DESC LIMIT 20",
        [content],
    ).fetchall()
    return [folder for _, folder in found]


def _names(connection: Connection, content: str) -> list[str]:
    found = connection.execute(
        "SELECT DISTINCT r.id, r.name FROM data_sources s JOIN runs r ON r.id = s.run_id WHERE s.content = ?"
        " ORDER BY r.id",
        [content],
    ).fetchall()
    return [name for _, name in found]


def listing(
    connection: Connection, part_of_path: str, limit: int, most_runs: int
) -> tuple[list[DataVersion], int]:
    """List versions, those read last first, each with the newest runs that read it; and how many there are."""
    found = connection.execute(_LISTING, [part_of_path, most_runs, limit]).fetchall()
    total = one_value(
        connection, "SELECT count(*) FROM data_versions WHERE contains(lower(path), lower(?))", [part_of_path]
    )
    return [_listed(connection, row) for row in found], int(total)


def _listed(connection: Connection, row: tuple[Any, ...]) -> DataVersion:
    *facts, newest, last_read, origin = row
    known = "SELECT id, name FROM runs WHERE id IN (SELECT unnest(?::INTEGER[]))"
    names = dict(connection.execute(known, [newest]).fetchall())
    named = [names[one] for one in newest if one in names]
    return DataVersion(*(*facts, named, last_read, *_origin(connection, origin)))
