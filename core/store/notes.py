"""Tags and notes of runs in the store. Users write them, so they are recorded in the run's folder too."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.store import run_records
from finetop.core.store.database import json_text, one_value, update

_tags = msgspec.json.Decoder(list[str])


def tags_of(connection: Connection, run_id: int) -> list[str]:
    """Read a run's tags, in the order in which they were added."""
    return read_tags(one_value(connection, "SELECT tags FROM runs WHERE id = ?", [run_id]))


def read_tags(text: str) -> list[str]:
    """Decode a row's tags; none if they are damaged, so that a list of runs still works."""
    try:
        return _tags.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def set_tags(connection: Connection, run_id: int, tags: Sequence[str]) -> None:
    """Store a run's tags."""
    update(connection, "runs", run_id, tags=json_text(tags))
    run_records.mark_run(connection, run_id)


def tagged(connection: Connection, text: str) -> list[tuple[int, list[str]]]:
    """List ids and tags of runs that have this text in a tag, by id."""
    query = "SELECT id, tags FROM runs WHERE contains(tags, ?) ORDER BY id"
    return [(number, read_tags(tags)) for number, tags in connection.execute(query, [text]).fetchall()]


def note_of(connection: Connection, run_id: int) -> str:
    """Read a run's note; '' if it has none."""
    return str(one_value(connection, "SELECT note FROM runs WHERE id = ?", [run_id]))


def set_note(connection: Connection, run_id: int, note: str) -> None:
    """Store a run's note."""
    update(connection, "runs", run_id, note=note)
    run_records.mark_run(connection, run_id)
