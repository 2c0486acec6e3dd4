"""Ingesting many jobs' events at once: one transaction for all, a share for each, no job blocking another."""

import functools
import itertools
import os

import duckdb
import msgspec
import pytest
import store_rows
from store_rows import write

from finetop.core.features.data_versions import sql as data_versions
from finetop.core.protocol import events, runs as data
from finetop.core.runtime import event_log, files as runtime_files
from finetop.core.store import event_batch, ingest, jobs, metrics, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor import tick

add = functools.partial(store_rows.add, state=data.Running(since=1.0))


def ingest_all(connection, job, file):
    while ingest.take_in(connection, job, file):
        pass


def told(connection, job):
    columns = "bytes_read, last_n, bad_lines, bad_line"
    return connection.execute(f"SELECT {columns} FROM jobs WHERE id = ?", [job]).fetchone()


@pytest.mark.parametrize("how", ["cut to nothing", "cut to its half", "deleted", "replaced"])
def test_events_that_are_cut_or_deleted_are_told_and_what_comes_is_taken_in(connection, tmp_path, how):
    run, job = add(connection, "one")
    file = tmp_path / "events.jsonl"
    log = event_log.EventLog(file)
    for step in range(1, 41):
        log.write(events.metrics(step, {"loss": 1.0 / step}))
    ingest_all(connection, job, file)
    size = file.stat().st_size
    if how == "cut to nothing":
        os.truncate(file, 0)
    elif how == "cut to its half":
        os.truncate(file, size // 2)
        log.write(events.metrics(41, {"loss": 0.5}))  # after half a line: lost with it
    else:
        file.unlink()
        if how == "replaced":
            file.write_text("")
            log.close()
            log = event_log.EventLog(file)
            log.number_behind(jobs.events_taken(connection, job))
    ingest.take_in(connection, job, file)
    assert "were read are gone" in told(connection, job)[3]
    log.write(events.metrics(42, {"loss": 0.25}))
    log.write(events.metrics(43, {"loss": 0.125}))
    log.close()
    ingest_all(connection, job, file)
    bytes_read, last_n, bad, line = told(connection, job)
    assert bytes_read == file.stat().st_size < size
    assert (bad, runs.row(connection, run).step) == (2 if "half" in how else 1, 43)
    steps = connection.execute("SELECT step FROM metrics ORDER BY step").fetchall()
    assert steps == [(step,) for step in (*range(1, 41), 42, 43)], "one is there twice, or lost"
    assert not ingest.take_in(connection, job, file)
    assert told(connection, job) == (bytes_read, last_n, bad, line)
    assert "gone" in jobs.of_run(connection, run)[0].unread


async def take_in(supervisor, live):
    """One beat's share. Return whether that was everything."""
    folders = {job.id: supervisor.home.root / job.folder for job in live}
    sizes = {number: runtime_files.size_of(folder / "events.jsonl") for number, folder in folders.items()}
    await tick.take_in(supervisor, live, sizes)
    return not supervisor.behind


def test_three_jobs_of_two_runs_are_taken_in_at_once(connection, tmp_path):
    one, train = add(connection, "one")
    _, check = add(connection, "one", "check", run_id=one)
    two, other = add(connection, "two")
    files = {
        train: write(
            tmp_path / "a",
            events.metrics(7, {"loss": 1.5, "grad_norm": 0.5}),
            events.Phase("training", 7, 10),
        ),
        check: write(tmp_path / "b", events.metrics(6, {"accuracy": 0.25}), events.Phase("scoring base")),
        other: write(tmp_path / "c", events.metrics(3, {"loss": 9.0}), events.Phase("evaluating")),
    }
    taken = ingest.take_in_all(connection, files)
    assert taken == ingest.Taken(ingested=[train, check, other], more=[], newer={})
    rows = {number: runs.row(connection, number) for number in (one, two)}
    assert rows[one].metrics == {"loss": 1.5, "grad_norm": 0.5, "accuracy": 0.25}
    assert (rows[one].step, rows[two].step) == (7, 3)
    assert [row.state.phase for row in rows.values()] == ["training", "evaluating"]  # not the check's phase
    states = connection.execute("SELECT state FROM jobs ORDER BY id").fetchall()
    phases = [msgspec.json.decode(text, type=data.State).phase for (text,) in states]
    assert phases == ["training", "scoring base", "evaluating"]
    ordered = connection.execute("SELECT run_id, key, step FROM metrics").fetchall()
    assert ordered == sorted(ordered)
    assert ingest.take_in_all(connection, files) == ingest.Taken(ingested=[], more=[], newer={})


def test_when_one_commit_fails_no_job_moves(connection, tmp_path, monkeypatch):
    job_ids = [add(connection, name)[1] for name in ("one", "two")]
    files = {job: write(tmp_path / str(job), events.metrics(1, {"loss": 1.0})) for job in job_ids}

    def no_room(*_):
        raise duckdb.IOException("No space left on device")

    for step in ("_write", "_move_on"):
        with monkeypatch.context() as patch, pytest.raises(duckdb.IOException):
            patch.setattr(ingest, step, no_room)
            ingest.take_in_all(connection, files)
        assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (0,), step
        assert connection.execute("SELECT sum(bytes_read) FROM jobs").fetchone() == (0,), step
    ingest.take_in_all(connection, files)
    assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (2,)


def test_a_newer_finetop_s_events_stop_their_own_job_alone(connection, tmp_path):
    job_ids = [add(connection, name)[1] for name in ("one", "two")]
    started = events.Started(events.FORMAT + 1, 1, 1, "cpu", "float32", {})
    files = {
        job_ids[0]: write(tmp_path / "newer", events.metrics(1, {"loss": 1.0}), started),
        job_ids[1]: write(tmp_path / "ours", events.metrics(1, {"loss": 1.0})),
    }
    taken = ingest.take_in_all(connection, files)
    assert list(taken.newer) == job_ids[:1]
    assert connection.execute("SELECT last_n FROM jobs ORDER BY id").fetchall() == [(1,), (1,)]


def test_what_was_taken_in_while_it_was_read_is_not_taken_in_again(connection, tmp_path):
    """Reading happens in a thread: a batch that the store has moved past meanwhile is dropped and read again."""
    _, one = add(connection, "one")
    _, two = add(connection, "two")
    files = {
        job: write(tmp_path / str(job), events.metrics(job, {"loss": 1.0}), events.Phase("training", 1, 2))
        for job in (one, two)
    }
    batches = ingest.read_all(ingest.places(connection, [one, two]), files)
    assert ingest.take_in(connection, one, files[one])
    with transaction(connection):
        jobs.set_state(connection, two, data.Running(since=7.0))
    taken = ingest.commit(connection, [one, two], batches)
    assert (taken.ingested, taken.more) == ([two], [one])
    assert ingest.take_in_all(connection, files) == ingest.Taken(ingested=[], more=[], newer={})
    [unchanged] = ingest.read_all(ingest.places(connection, [one]), files)
    assert unchanged.is_empty and unchanged.bad_lines == 0, "a file that did not grow was not cut"
    assert connection.execute("SELECT run_id, step FROM metrics ORDER BY 1").fetchall() == [(1, 1), (2, 2)]
    state = jobs.state_of(connection, two)
    assert (state.since, state.phase) == (7.0, "training"), "its state is the one that it has now"


async def test_a_flood_of_one_job_does_not_keep_another_waiting(quiet, monkeypatch):
    """With no time at all a beat reads one chunk; jobs that had no turn come first in the next."""
    monkeypatch.setattr(tick, "SHARE_S", 0.0)
    monkeypatch.setattr(event_batch, "CHUNK_BYTES", 2000)
    supervisor = quiet.supervisor
    for name in ("flood", "drop"):
        quiet.queue(name)
    live = jobs.queued(supervisor.connection)
    for job, steps in zip(live, (200, 1), strict=True):
        folder = quiet.home.root / job.folder
        folder.mkdir(parents=True)
        write(folder / "events.jsonl", *(events.metrics(n, {"loss": 1.0}) for n in range(1, steps + 1)))
    assert not await take_in(supervisor, live)
    assert supervisor.behind == [live[1].id, live[0].id]
    beats = 1
    while not await take_in(supervisor, live):
        beats += 1
        assert beats < 100
        if beats == 3:
            assert quiet.rows("SELECT count(*) FROM metrics WHERE run_id = 2") == [(1,)]
    assert supervisor.behind == []
    assert quiet.rows("SELECT count(*) FROM metrics") == [(201,)]
    assert await take_in(supervisor, live)


async def test_a_beat_of_a_flood_leaves_clients_their_turn(quiet):
    """20 MB wait: a beat ends after its share, plus one chunk at most."""
    supervisor = quiet.supervisor
    quiet.queue("flood")
    live = jobs.queued(supervisor.connection)
    folder = quiet.home.root / live[0].folder
    folder.mkdir(parents=True)
    line = events.metrics(1, {f"value_{i}": 0.5 for i in range(6)})
    encoded = msgspec.json.Encoder().encode
    with (folder / "events.jsonl").open("wb") as file:
        for n in range(1, 100_001):
            file.write(encoded(events.Line(n, 1.0, line)) + b"\n")
    assert not await take_in(supervisor, live)
    taken = quiet.rows("SELECT last_n FROM jobs")[0][0]
    assert 0 < taken < 100_000


@pytest.mark.slow
def test_steps_are_read_in_order_whatever_the_gaps_between_them(connection, tmp_path):
    for gaps in ((1,), (10,), (1, 1, 7), (1, 500), (3000, 1, 1)):
        number, job = add(connection)
        written = list(itertools.accumulate(gaps[at % len(gaps)] for at in range(60)))
        told = (events.metrics(step, {"loss": 1.0 / step, "drift": 0.5}) for step in written)
        ingest.take_in(connection, job, write(tmp_path / f"{number}", *told))
        for limit in (1, 7, 50):
            results: list[int] = []
            while rows := metrics.steps(connection, number, after=max(results, default=-1), limit=limit):
                assert len(rows) <= limit and all(row.values["loss"] == 1.0 / row.step for row in rows)
                results += [row.step for row in rows]
                assert len(rows) == limit or len(results) == len(written), (
                    "a page that is not full is the last"
                )
            assert results == written, (gaps, limit)


def test_data_that_was_seen_before_and_an_alarm_are_taken_in_at_once(connection, tmp_path):
    """Neither may leave a result half read: the database then opens no appender for the other."""
    read = events.SourceRead(source="a.jsonl", path="/a.jsonl", use="train", rows=1, content="0" * 64)
    alarm = events.Alarm("spike", 3, "the loss has jumped")
    for name in ("one", "two"):
        _, job = add(connection, name)
        ingest.take_in_all(connection, {job: write(tmp_path / name, read, alarm)})
    assert connection.execute("SELECT count(*) FROM alarms").fetchall() == [(2,)]
    assert connection.execute("SELECT number FROM data_versions").fetchall() == [(1,)]


def test_the_system_prompt_is_that_of_the_largest_source_of_the_newest_training(connection, tmp_path):
    def read(name, rows, system, use="train"):
        how = {"source": name, "path": name, "use": use, "rows": rows, "content": f"{rows:064d}"}
        return events.SourceRead(**how, system=system)

    run, job = add(connection, "one")
    assert data_versions.system_prompt(connection, run) is None, "nothing was recorded"
    sources = (read("a", 9, "Ahoy"), read("b", 8, ""), read("c", 99, "Test", "test"))
    store_rows.take_in(connection, job, tmp_path / "e", *sources)
    assert data_versions.system_prompt(connection, run) == "Ahoy"


def test_an_evaluation_on_the_way_leaves_the_time_of_training(connection, tmp_path):
    training = events.Phase("training", 5.0, 10.0, "steps", 600.0)
    measuring = events.Phase("scoring base", 1.0, 9.0, "items", 4.0)
    for name, phases, left_s in (
        ("one", (measuring,), None),
        ("two", (measuring, training, measuring), 600.0),
    ):
        run, job = add(connection, name)
        store_rows.take_in(connection, job, tmp_path / name, *phases)
        state = runs.row(connection, run).state
        assert (state.phase, state.left_s) == ("scoring base", left_s)


def test_the_number_format_that_training_took_is_shown_in_place_of_the_one_asked_for(connection, tmp_path):
    run, job = add(connection, "one")
    started = events.Started(events.FORMAT, 1, 1, "cuda:0 NVIDIA H100", "auto", {})
    planned = events.Planned(9, 1.0, 10, 0, 100, 1, 1, dtype="float32")
    store_rows.take_in(connection, job, tmp_path / "e", started, planned)
    detail = runs.detail(connection, run)
    assert detail.device == "cuda:0 NVIDIA H100 float32"
    assert msgspec.json.decode(msgspec.json.encode(detail), type=type(detail)).planned["steps"] == 9


def test_a_run_was_trained_where_its_command_ran_whatever_the_import_of_its_model_says(connection, tmp_path):
    run, command = add(connection, "one", verb="command")
    started = events.Started(events.FORMAT, 1, 1, "cpu", "", {})
    store_rows.take_in(connection, command, tmp_path / "a", started)
    assert runs.detail(connection, run).device.strip() == "cpu"
    _, import_job = add(connection, verb="import", run_id=run)
    planned = events.Planned(9, 1.0, 0, 0, 0, 1, 2)
    made = events.Started(events.FORMAT, 2, 2, "made elsewhere", "", {})
    store_rows.take_in(connection, import_job, tmp_path / "b", made, planned)
    detail = runs.detail(connection, run)
    assert (detail.device.strip(), detail.planned["parameters"]) == ("cpu", 2)
