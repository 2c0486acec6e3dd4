"""Tags and notes of runs in the store: told by people alone, so they are kept in the run's folder too."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.store import run_records
from finetop.core.store.database import one_value

_json = msgspec.json.Encoder()
_tags = msgspec.json.Decoder(list[str])


def tags_of(connection: Connection, run_id: int) -> list[str]:
    """Read a run's tags, in the order in which they were put on."""
    tags = one_value(connection, "SELECT tags FROM runs WHERE id = ?", [run_id])
    return read_tags(tags)


def read_tags(text: str) -> list[str]:
    """Read the tags that a run's row holds; none where it is damaged: a list of runs goes on without them."""
    try:
        return _tags.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def set_tags(connection: Connection, run_id: int, tags: Sequence[str]) -> None:
    """Keep a run's tags."""
    connection.execute("UPDATE runs SET tags = ? WHERE id = ?", [_json.encode(tags).decode(), run_id])
    run_records.mark_run(connection, run_id)


def tagged(connection: Connection, words: str) -> list[tuple[int, list[str]]]:
    """List the numbers and tags of runs with these words in a tag, in the order of their numbers."""
    found = connection.execute(
        "SELECT id, tags FROM runs WHERE contains(tags, ?) ORDER BY id", [words]
    ).fetchall()
    return [(number, read_tags(tags)) for number, tags in found]


def note_of(connection: Connection, run_id: int) -> str:
    """Read a run's note; empty where it has none."""
    return str(one_value(connection, "SELECT note FROM runs WHERE id = ?", [run_id]))


def set_note(connection: Connection, run_id: int, note: str) -> None:
    """Keep a run's note."""
    connection.execute("UPDATE runs SET note = ? WHERE id = ?", [note, run_id])
    run_records.mark_run(connection, run_id)
