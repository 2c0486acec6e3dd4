"""Fault 33: an upgrade with runs live, an older database, a newer one, events of another version."""

import json

import pytest
from dumping import differences, dump
from old_homes import old_home

from finetop.core import events, protocol
from finetop.core.errors import StoreTrouble
from finetop.core.home import Home
from finetop.core.store import backups, ingest, records
from finetop.core.store.open import migrations, open_store
from finetop.core.supervisor.__main__ import open_home
from finetop.core.supervisor.house.rebuild import rebuild


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_older_database_is_brought_up_to_date_with_a_copy_kept(tmp_path, monkeypatch, survived, count):
    home = old_home(tmp_path / "home", monkeypatch, count)
    old = home.database.read_bytes()
    connection = open_home(home)
    assert connection.execute("SELECT name, step FROM runs").fetchall() == [("old", 0)]
    assert connection.execute("SELECT id, job_id, claim, watch FROM checks").fetchall() == [(1, 1, 0, False)]
    assert connection.execute("SELECT value FROM metrics").fetchall() == [(0.5,)]
    assert records.write_marked(connection, home.root)
    connection.close()
    copies = list(home.root.glob("finetop.duckdb.before-*"))
    assert [copy.name for copy in copies] == [f"finetop.duckdb.before-{migrations()[count][0][:-4]}"]
    assert copies[0].stat().st_mode & 0o077 == 0
    with monkeypatch.context() as patch:
        only = migrations()[:count]
        patch.setattr("finetop.core.store.open.migrations", lambda: only)
        kept = open_store(copies[0])
        assert kept.execute("SELECT name FROM runs").fetchall() == [("old",)]
        kept.close()
    told = json.loads((home.runs / "0001-old" / "run.json").read_text())
    assert (told["format"], told["store"]["run"]["name"]) == (records.FORMAT, "old")
    assert old
    survived("33", f"database of {count} migrations", written=3)


@pytest.mark.slow
def test_an_upgrade_with_a_run_live_goes_on_reading_where_the_old_one_stopped(
    cold_rig, monkeypatch, survived
):
    old_home(cold_rig.home.root, monkeypatch, 2, live=True)
    cold_rig.start()
    cold_rig.wait_ready()
    cold_rig.wait_state("old", "lost", "failed", "finished")
    rows = cold_rig.ask(protocol.Sql("SELECT step, value FROM metrics ORDER BY step")).rows
    cold_rig.ask(protocol.Shutdown())
    cold_rig.processes[-1].wait()
    survived("33", "upgrade with a run live", written=2, lost=2 - len(rows), doubled=max(0, len(rows) - 2))
    assert rows == [[1, 0.5], [2, 0.4]]


def test_the_last_three_copies_are_kept(tmp_path):
    database = tmp_path / "finetop.duckdb"
    open_store(database).close()
    for number in range(10, 16):
        backups.copy(database, f"00{number}_more.sql")
    assert sorted(copy.name for copy in tmp_path.glob("*.before-*")) == [
        f"finetop.duckdb.before-00{number}_more" for number in (13, 14, 15)
    ]


def test_no_copy_no_migration(tmp_path, monkeypatch):
    home = old_home(tmp_path / "home", monkeypatch, 2)
    whole = home.database.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("finetop.core.store.backups.shutil.copyfile", full)
    with pytest.raises(StoreTrouble, match="can't be copied first: No space left"):
        open_store(home.database)
    assert home.database.read_bytes() == whole
    assert list(home.root.glob("*before*")) == []


def test_a_database_newer_than_the_program_is_refused_in_words(tmp_path, monkeypatch, survived):
    home = old_home(tmp_path / "home", monkeypatch, len(migrations()))
    connection = open_store(home.database)
    connection.execute("INSERT INTO migrations VALUES ('9999_future.sql', 0)")
    connection.close()
    with pytest.raises(StoreTrouble, match=r"made by a newer finetop.*Install that version"):
        open_home(home)
    survived("33", "database of a newer finetop", written=1)


def newer_events(path, *, before: int, behind: int) -> bytes:
    """Events of ours, then those of an attempt whose format is one further, with a type that we do not know."""
    log = events.EventLog(path)
    log.write(events.Started(1, 1, 1, "cpu", "float32", {}))
    for step in range(1, before + 1):
        log.write(events.metrics(step, {"loss": 1.0}))
    log.close()
    lines = [{"n": before + 2, "t": 1.0, "e": {"type": "started", "format": 2, "who": "a later finetop"}}]
    lines += [{"n": before + 3 + i, "t": 1.0, "e": {"type": "numbers", "at": i}} for i in range(behind)]
    ours = path.read_bytes()
    path.write_bytes(ours + b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    return ours


def test_newer_events_are_left_for_the_program_that_reads_them(quiet, tmp_path, survived):
    quiet.queue("one")
    connection, job = quiet.supervisor.connection, 1
    path = tmp_path / "events.jsonl"
    ours = newer_events(path, before=5, behind=7)
    assert ingest.take_in(connection, job, path)
    for _ in range(3):
        with pytest.raises(ingest.NewerEvents, match=r"format 2, and this finetop reads 1.*supervisor stop"):
            ingest.take_in(connection, job, path)
    assert connection.execute("SELECT bytes_read, bad_lines FROM jobs").fetchone() == (len(ours), 0)
    assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (5,)
    survived("33", "events of a newer finetop", repeats=3, written=5)


@pytest.mark.slow
def test_a_run_of_newer_events_is_never_wrongly_marked(cold_rig):
    """An old supervisor meets a trainer of a newer finetop: it says so, and leaves the run as it is."""
    cold_rig.start()
    cold_rig.wait_ready()
    name = cold_rig.submit(waits_at=2)
    cold_rig.wait_state(name, "running")
    folder = cold_rig.job_folder(name)
    line = {"n": 10_000, "t": 1.0, "e": {"type": "started", "format": 2}}
    with (folder / "events.jsonl").open("ab") as file:
        file.write(json.dumps(line).encode() + b"\n")
    cold_rig.ask(protocol.Kill(name))
    while not (folder / "exit.json").exists():
        cold_rig.ask(protocol.Changes(0, 0.1))
    while "format 2" not in cold_rig.ask(protocol.Changes(0, 0.1)).trouble:
        pass
    assert cold_rig.ask(protocol.GetRun(name)).row.state.__class__.__name__ == "Running"
    # the program that reads them comes: here, one for which the line is an ordinary one
    cold_rig.ask(protocol.Shutdown())
    cold_rig.processes[-1].wait()
    whole = (folder / "events.jsonl").read_bytes()
    (folder / "events.jsonl").write_bytes(whole.replace(b'"format": 2', b'"format": 1'))
    cold_rig.start()
    cold_rig.wait_ready()
    assert cold_rig.wait_state(name, "stopped").state.how == "kill"


def test_rebuild_leaves_a_run_of_newer_events_out_and_says_so(quiet):
    quiet.queue("one")
    folder = quiet.home.runs / "0001-one" / "jobs" / "0001-train"
    folder.mkdir(parents=True)
    newer_events(folder / "events.jsonl", before=1, behind=1)
    quiet.close()
    made = rebuild(quiet.home)
    assert made.runs == 0
    assert "format 2" in made.left_out[0]


def test_a_home_that_moved_to_another_disk_works_there(cold_rig, tmp_path, survived):
    """Paths are kept relative: what was finished shows, what waited runs, and a rebuild there is the same."""
    cold_rig.start()
    cold_rig.wait_ready()
    done = cold_rig.submit("done", steps=20, saved=[10, 20], lost=20, check=True)
    cold_rig.wait_state(done, "finished")
    while not cold_rig.ask(protocol.Checks(done)).checks or cold_rig.ask(protocol.GetRun(done)).row.checking:
        cold_rig.ask(protocol.Changes(0, 0.1))
    cold_rig.ask(protocol.Shutdown())
    cold_rig.processes[-1].wait()
    old, new = cold_rig.home.root, tmp_path / "another disk" / ("deep" * 30)
    before = dump(cold_rig.home.database)
    new.parent.mkdir()
    old.rename(new)
    cold_rig.home = Home(new)
    assert differences(before, dump(cold_rig.home.database)) == []
    rebuild(cold_rig.home)
    assert differences(before, dump(cold_rig.home.database)) == []
    cold_rig.start()
    cold_rig.wait_ready()
    assert cold_rig.ask(protocol.GetRun(done)).checkpoints[1].path == "checkpoints/step-000020"
    cold_rig.ask(protocol.Resume(done, step=10, anyway=True, recipe=longer(cold_rig, done)))
    assert cold_rig.wait_state(done, "finished").step == 20
    assert cold_rig.ask(protocol.ReadLog(done)).size >= 0
    leaks = [
        file for file in new.rglob("*")
        if file.is_file() and file.suffix in (".json", ".yaml") and str(old).encode() in file.read_bytes()
    ]  # fmt: skip
    survived("33", "home moved to another disk", written=sum(map(len, before.values())), wrong=len(leaks))


def longer(rig, name):
    recipe = rig.ask(protocol.GetRun(name)).recipe
    return {**recipe, "train": {**recipe["train"], "epochs": 9}}
