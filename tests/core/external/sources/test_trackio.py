"""trackio's database, by the schema of trackio 0.43 and an earlier one."""

import json
import math
import os
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from metric_files import found, opened, read, steps

from finetop.core.external.sources import trackio

AT = 1.8e9
METRICS = (
    "CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, timestamp TEXT NOT NULL,"
    " run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL, log_id TEXT, space_id TEXT)"
)
INSERT = "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?, ?)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "project.db"


def database(path: Path) -> closing[sqlite3.Connection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        connection.execute(METRICS)
    return closing(connection)


def log(connection: sqlite3.Connection, step: int, at: float = AT, run: str = "run", **values: Any) -> None:
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    text = json.dumps(values).encode()  # it stores bytes
    connection.execute(INSERT, (f"id-{run}", when, run, step, text))


def test_rows_come_once(path):
    reader = opened("trackio", path)
    assert read(reader) == []
    with database(path) as connection:
        assert read(reader) == []
        log(connection, 0, AT + 0.25, loss=2.0, text="x")
        log(connection, 1, loss="NaN", up="Infinity")
        first, second = reader.read()
        assert (first.step, first.values, first.at) == (0, {"loss": 2.0}, pytest.approx(AT + 0.25, abs=1e-3))
        assert math.isnan(second.values["loss"])
        assert second.values["up"] == math.inf
        assert read(reader) == []
        log(connection, 2, loss=1.0)
        assert read(reader) == [(2, {"loss": 1.0})]
        # a Trainer's own step is believed
        log(connection, 3, **{"train/loss": 1.0, "train/global_step": 60})
        log(connection, 4, **{"train/train_loss": 1.0, "train/train_runtime": 60})
        assert read(reader)[0] == (60, {"train/loss": 1.0})


def test_only_the_run_that_began_since_then_or_else_was_resumed(path):
    with database(path) as connection:
        log(connection, 1, AT - 100, "old", loss=9.0)
        log(connection, 2, AT + 5, "old", loss=8.0)  # it still runs
        assert read(opened("trackio", path, since=AT)) == [(2, {"loss": 8.0})]
        reader = opened("trackio", path, since=AT)
        log(connection, 0, AT + 6, "new", loss=1.0)
        log(connection, 1, AT + 7, "newer", loss=7.0)
        assert read(reader) == [(0, {"loss": 1.0})]
        log(connection, 3, AT + 8, "old", loss=6.0)
        log(connection, 1, AT + 9, "new", loss=0.5)
        assert read(reader) == [(1, {"loss": 0.5})]


def test_an_earlier_schema_without_ids_of_runs(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = "id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step, metrics"
        connection.execute(f"CREATE TABLE metrics ({columns})")
        connection.execute("INSERT INTO metrics VALUES (1, '2026-01-01T00:00:00', 'a', 4, '{\"loss\": 1}')")
    assert read(opened("trackio", path)) == [(4, {"loss": 1.0})]


def test_many_rows_are_read_in_parts(path, monkeypatch):
    monkeypatch.setattr(trackio, "MOST_ROWS", 10)
    with database(path) as connection:
        for step in range(25):
            log(connection, step, loss=1.0)
    reader = opened("trackio", path)
    assert len(reader.read()) == 10
    assert steps(reader) == list(range(10, 25))


def test_a_database_that_is_locked_has_nothing_for_now(path):
    with database(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        log(connection, 1, loss=1.0)
        connection.execute("BEGIN EXCLUSIVE")
        reader = opened("trackio", path)
        assert read(reader) == []
        assert reader.is_locked
        connection.execute("COMMIT")
        assert read(reader) == [(1, {"loss": 1.0})]
        assert not reader.is_locked


def test_a_row_that_is_written_within_one_tick_of_the_files_clock_is_read(path):
    with database(path) as connection:
        log(connection, 1, loss=1.0)
        reader, now = opened("trackio", path), time.time()
        for step in (1, 2):
            os.utime(path, (now, now))
            os.utime(f"{path}-wal", (now, now))
            assert steps(reader) == [step]
            log(connection, step + 1, loss=1.0)


def test_nothing_is_written_beside_a_database_whose_name_has_signs_of_an_address(tmp_path):
    path = tmp_path / "50% of #1?.db"
    with database(path) as connection:
        log(connection, 1, loss=1.0)
    assert list(tmp_path.iterdir()) == [path]
    reader = opened("trackio", path)
    assert read(reader) == [(1, {"loss": 1.0})]
    assert list(tmp_path.iterdir()) == [path]
    with database(path) as connection:
        log(connection, 2, loss=0.5)
        assert read(reader) == [(2, {"loss": 0.5})]


@pytest.mark.parametrize("data", [b"", b"no database" * 1000])
def test_files_that_are_no_database(path, data):
    path.write_bytes(data)
    assert read(opened("trackio", path)) == []


def test_a_database_is_found_by_its_log_too_in_its_own_folder_and_in_that_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    path = tmp_path / "trackio" / "project.db"
    with database(path) as connection:
        log(connection, 1, loss=1.0)
        os.utime(path, (AT - 100,) * 2)
        own = {"since": AT - 50, "environment": {"TRACKIO_DIR": str(path.parent)}}
        os.utime(f"{path}-wal", (AT - 100,) * 2)
        assert found("trackio", tmp_path, **own) == []
        os.utime(f"{path}-wal", (AT,) * 2)
        assert found("trackio", tmp_path, **own) == [path]
    assert found("trackio", environment={"HF_HOME": str(tmp_path)}) == [path]
