"""Databases that were made to hold or to fill their reader."""

import sqlite3
from contextlib import closing

import pytest

from finetop.core.external.sources import _sqlite
from finetop.core.external.sources._sqlite import Locked, NoTable, opened

COUNTED = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c{}) SELECT x FROM c"
HUGE = "hex(zeroblob(4000000))"  # twice as many bytes
MADE = {
    "a view without end": (f"CREATE VIEW metrics AS {COUNTED.format('')}", NoTable),
    "a generated column": ("CREATE TABLE metrics (x, y AS (hex(zeroblob(x))))", NoTable),
    "a virtual table": ("CREATE VIRTUAL TABLE metrics USING rtree(id, x, y)", NoTable),
    "a value of 8 MB": (f"CREATE TABLE metrics AS SELECT {HUGE} AS x", sqlite3.DataError),
}


@pytest.mark.parametrize("what", MADE)
def test_what_is_no_plain_table_of_small_values_is_refused_once(tmp_path, capsys, what):
    statement, error = MADE[what]
    path = tmp_path / "project.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute(statement)
    with pytest.raises(error), opened(path, "metrics") as database:
        database.execute("SELECT * FROM metrics").fetchall()
    assert "project.db" in capsys.readouterr().out
    with pytest.raises(sqlite3.OperationalError), opened(path, "metrics"):
        pass
    assert capsys.readouterr().out == ""


def test_a_query_that_takes_too_long_is_broken_off(tmp_path, monkeypatch):
    monkeypatch.setattr(_sqlite, "MOST_S", 0.0)
    path = tmp_path / "project.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute(f"CREATE TABLE metrics AS {COUNTED.format(' LIMIT 100000')}")
    with pytest.raises(sqlite3.OperationalError, match="interrupted"), opened(path, "metrics") as database:
        database.execute("SELECT max(x) FROM metrics").fetchall()


def test_a_file_that_could_not_be_read_on_a_busy_machine_is_read_later(tmp_path, monkeypatch, capsys):
    path = tmp_path / "project.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute(f"CREATE TABLE metrics AS {COUNTED.format(' LIMIT 100000')}")
    monkeypatch.setattr(_sqlite, "MOST_S", 1e9)
    monkeypatch.setattr(_sqlite, "LONGEST_S", 0.0)
    with pytest.raises(Locked, match="interrupted"), opened(path, "metrics") as database:
        database.execute("SELECT max(x) FROM metrics").fetchall()
    monkeypatch.setattr(_sqlite, "LONGEST_S", 1e9)
    with opened(path, "metrics") as database:
        assert database.execute("SELECT max(x) FROM metrics").fetchall() == [(100_000,)]
    assert capsys.readouterr().out == ""


def test_a_view_is_not_read_in_place_of_a_table(tmp_path):
    """Its name is any other: what is queried is checked, whatever the query names."""
    path = tmp_path / "project.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute("CREATE TABLE metrics (x)")
        made.execute("CREATE VIEW others AS SELECT x FROM metrics")
    with pytest.raises(sqlite3.DatabaseError, match="prohibited"), opened(path, "metrics") as database:
        database.execute("SELECT x FROM others").fetchall()
