"""The store on a real DuckDB file: migrations, refusals, the list's order and speed."""

import functools
import os
import subprocess
import sys
import time

import duckdb
import pytest
import store_rows
from store_rows import add, take_in

from finetop.core.errors import StoreTrouble
from finetop.core.protocol import events, runs as data
from finetop.core.store import ingest, jobs, metrics, run_list, run_records, runs
from finetop.core.store.database import made_by_newer, migrations, open_store, transaction

whole_list = functools.partial(
    run_list.page, filter="", now=0.0, sort="needs_you", offset=0, limit=50, revision=0
)


def write(tmp_path, *told):
    return store_rows.write(tmp_path / "events.jsonl", *told)


def test_each_field_of_a_row_is_read_from_its_column_or_made_of_others(connection):
    columns = set(run_records.schema_of(connection)["runs"])
    assert set(runs._NAMES) <= columns and not columns & set(runs._MADE)
    assert {*runs._OWN, *runs._MADE} == set(data.RunRow.__struct_fields__)


def test_an_older_database_is_backed_up_and_migrated_and_a_newer_one_refused(tmp_path, monkeypatch):
    path = tmp_path / "finetop.duckdb"
    open_store(path).close()
    again = open_store(path)  # which changes nothing
    names = again.execute("SELECT name FROM migrations").fetchall()
    assert names == [(name,) for name, _ in migrations()]
    again.close()
    assert list(tmp_path.glob("*.before-*")) == []
    newer = [*migrations(), ("9999_more.sql", "CREATE TABLE more (a INTEGER)")]
    with monkeypatch.context() as patch:
        patch.setattr("finetop.core.store.database.migrations", lambda: newer)
        again = open_store(path)
    assert again.execute("SELECT count(*) FROM more").fetchone() == (0,)
    again.close()
    assert (tmp_path / "finetop.duckdb.before-9999_more").exists()
    with pytest.raises(StoreTrouble, match="newer finetop"):
        open_store(path)


@pytest.mark.parametrize("damage", [b"", b"not a database at all, whatever its name says" * 200])
def test_a_damaged_database_is_refused_in_words_and_kept(tmp_path, damage):
    path = tmp_path / "finetop.duckdb"
    path.write_bytes(damage)
    with pytest.raises(StoreTrouble, match="can't be read"):
        open_store(path)
    assert path.read_bytes() == damage


def test_a_line_cut_at_every_byte_is_taken_in_once_it_is_whole_and_one_that_came_twice_is_there_once(
    connection, tmp_path
):
    _, job = add(connection)
    path = write(tmp_path, *(events.metrics(step, {"loss": 1.0}) for step in range(1, 4)))
    lines = path.read_bytes().splitlines(keepends=True)
    whole = b"".join([*lines[:2], *lines])
    for size in range(whole.rindex(b"\n", 0, -1), len(whole) + 1):
        path.write_bytes(whole[:size])
        ingest.take_in(connection, job, path)
    rows = connection.execute("SELECT step FROM metrics ORDER BY step").fetchall()
    assert rows == [(1,), (2,), (3,)]
    assert connection.execute("SELECT bad_lines FROM jobs").fetchone() == (0,)


def test_a_line_of_any_length_is_skipped_in_bounded_memory(connection, tmp_path):
    _, job = add(connection)
    path = write(tmp_path, events.metrics(1, {"loss": 1.0}))
    with path.open("ab") as file:
        file.write(b"x" * (12 << 20) + b"\n")
    write(tmp_path, events.Metrics(2, {"loss": 0.5}))
    raw = path.read_bytes().splitlines()[-1]
    path.write_bytes(path.read_bytes().replace(raw, raw.replace(b'"n":1,', b'"n":2,')))
    take_in(connection, job, path)
    assert connection.execute("SELECT step FROM metrics ORDER BY step").fetchall() == [(1,), (2,)]
    assert connection.execute("SELECT bad_lines FROM jobs").fetchone() == (1,)


def test_not_finite_is_null_and_flagged_and_does_not_poison_a_curve(connection, tmp_path):
    number, job = add(connection)
    losses = enumerate((2.0, float("nan"), 1.0), 1)
    take_in(connection, job, tmp_path / "e", *(events.metrics(step, {"loss": loss}) for step, loss in losses))
    curve = metrics.curves(connection, number, ["loss"], columns=3, first=0, last=3)[0]
    assert (curve.bad, curve.mean) == (1, [2.0, 1.0])
    assert connection.execute("SELECT bad FROM metrics WHERE value IS NULL").fetchall() == [("nan",)]


def test_curves_over_tokens_go_on_where_a_count_begins_anew(connection, tmp_path):
    number, job = add(connection)
    event_rows = [events.metrics(at, {"loss": float(at), "tokens": 100.0 * at}) for at in (1, 2, 3)]
    event_rows += [events.metrics(at, {"loss": float(at), "tokens": 100.0 * (at - 3)}) for at in (4, 5, 6)]
    event_rows += [events.metrics(6, {"eval_loss": 9.0}), events.metrics(0, {"drift": 0.5})]
    ingest.take_in(connection, job, write(tmp_path, *event_rows))
    chart = metrics.curves_across(connection, number, [], across="tokens", columns=6, first=0, last=600)
    curves = {curve.key: curve for curve in chart.curves}
    assert chart.newest == 600 and chart.steps is not None
    assert (curves["loss"].column, curves["loss"].mean) == ([1, 2, 3, 4, 5], [1.0, 2.0, 3.0, 4.0, 5.5])
    assert (curves["drift"].column, curves["eval_loss"].column) == ([0], [5])
    assert (chart.steps.low, chart.steps.high) == ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 6])
    part = metrics.curves_across(
        connection, number, ["loss"], across="tokens", columns=2, first=200, last=400
    )
    assert part.curves[0].mean == [2.0, 3.5] and part.newest == 600


@pytest.mark.slow
def test_curves_over_tokens_and_time_of_two_million_steps_fit_the_store_s_memory(connection):
    number, _ = add(connection)
    told = {"tokens": "step % 1_500_000 * 10"}  # the counter restarts
    for key, value in {**told, **{f"reward/{i}": "hash(step) % 1000" for i in range(7)}}.items():
        connection.execute(
            "INSERT INTO metrics (run_id, key, step, time, value)"
            f" SELECT ?, ?, step, step, {value} FROM (SELECT range AS step FROM range(2_000_000))",
            [number, key],
        )
    for across in ("tokens", "time"):
        whole = metrics.curves_across(connection, number, [], across=across, columns=50, first=0, last=3e7)
        assert whole.newest == pytest.approx(2e7 if across == "tokens" else 2e6, rel=1e-4)
        assert whole.steps is not None and whole.steps.high[-1] == pytest.approx(2e6, rel=1e-4)


def test_no_time_passes_between_two_jobs_of_a_run(connection, tmp_path):
    number, job = add(connection)
    ingest.take_in(connection, job, write(tmp_path, *[events.metrics(at, {"loss": 1.0}) for at in range(5)]))
    for step, at in enumerate((1000, 1010, 1020, 5000, 5010)):
        connection.execute("UPDATE metrics SET time = ? WHERE step = ?", [at, step])
    jobs.set_state(connection, job, data.Running(4990.0))
    curves = metrics.curves_across(connection, number, ["loss"], across="time", columns=3, first=0, last=30)
    assert curves.newest == 30 and curves.steps is not None
    assert (curves.steps.column, curves.steps.low, curves.steps.high) == ([0, 1, 2], [0, 1, 2], [0, 1, 4])
    nothing = metrics.curves_across(connection, number, ["loss"], across="epoch", columns=3, first=1, last=30)
    assert nothing.curves == [] and nothing.newest == 0


def test_what_needs_a_person_comes_first_and_the_queue_is_in_order(connection):
    states = [
        ("done", data.Finished(1.0, 5.0)),
        ("waits-first", data.Queued(0)),
        ("waits-second", data.Queued(0)),
        ("live", data.Running(2.0)),
        ("broken", data.Failed(3.0, "out of memory")),
        ("done-later", data.Finished(1.0, 9.0)),
    ]
    for name, state in states:
        add(connection, name, state=state)
    page = whole_list(connection)
    names = ["broken", "live", "waits-first", "waits-second", "done-later", "done"]
    assert [row.name for row in page.rows] == names
    assert (page.need_you, page.jobs, page.queued, page.total) == (1, {"train": 1}, 2, 6)
    answer = whole_list(connection, filter="WAITS", sort="newest", offset=1, limit=1)
    assert ([row.name for row in answer.rows], answer.matching) == (["waits-first"], 2)


def test_a_page_of_ten_thousand_runs_is_one_small_query(connection):
    text = '{"type":"finished","since":1.0,"ended":2.0}'
    with transaction(connection):
        connection.execute(
            "INSERT INTO runs (id, name, model, method, objective, created, folder, recipe, source, state, rank, ended)"
            " SELECT i, 'run-' || i, 'm', 'lora', 'sft', i, 'f', '{}', '', ?, 3, i FROM range(10000) t(i)",
            [text],
        )
    began = time.process_time()
    page = whole_list(connection, offset=5000)
    assert page.rows[0].name == "run-4999"
    assert time.process_time() - began < 5  # 0.01 here; this only catches a plan that went wrong


def test_migrations_are_read_where_the_locale_is_not_utf_8():
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    program = "from finetop.core.store.database import migrations; assert '\\u2026' in migrations()[0][1]"
    process = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_a_file_of_a_newer_duckdb_is_told_from_a_damaged_one(tmp_path, monkeypatch):
    open_store(tmp_path / "finetop.duckdb").close()
    for said, is_newer in (
        (
            "IO Error: Trying to read a database file with storage version number 9999, but we can only read storage"
            " versions between 64 and 68.",
            True,
        ),
        ("IO Error: file was written with … Try opening the file with a newer version of DuckDB.", True),
        ("IO Error: Could not read enough bytes", False),
    ):

        def refuse(*_, said=said, **__):
            raise duckdb.IOException(said)

        monkeypatch.setattr(duckdb, "connect", refuse)
        assert made_by_newer(tmp_path / "finetop.duckdb") == (said if is_newer else "")
