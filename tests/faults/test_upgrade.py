"""Fault 33: an upgrade with runs live, an older database, a newer one, events of another version."""

import json
from contextlib import contextmanager

import pytest
import store_rows
from dumping import differences, dump

from finetop.core.errors import StoreTrouble
from finetop.core.protocol import events
from finetop.core.protocol.messages.checks import Checks
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import GetRun, ReadLog
from finetop.core.protocol.messages.session import Changes, Shutdown
from finetop.core.protocol.messages.submit import Resume
from finetop.core.runtime.home import Home
from finetop.core.store import backups, ingest
from finetop.core.store.database import migrations, open_store
from finetop.core.supervisor.__main__ import open_home
from finetop.core.supervisor.rebuild.rebuild import rebuild

SECOND = ("0002_more.sql", "ALTER TABLE runs ADD COLUMN more INTEGER DEFAULT 7;")


@contextmanager
def newer_finetop():
    """Act as a finetop with one more migration than this one."""
    known = [*migrations(), SECOND]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("finetop.core.store.database.migrations", lambda: known)
        yield


@pytest.fixture
def old_home(quiet):
    """A home as this finetop leaves it, with one run that has reported its losses."""
    quiet.run("old", (1, 2))
    quiet.close()
    return quiet.home


def test_an_older_database_is_brought_up_to_date_with_a_copy_kept(old_home, survived):
    before = dump(old_home.database)
    with newer_finetop():
        connection = open_home(old_home)
        assert connection.execute("SELECT name, more FROM runs").fetchall() == [("old", 7)]
        assert connection.execute("SELECT name FROM migrations").fetchall()[-1] == (SECOND[0],)
        connection.close()
        after = dump(old_home.database)
    assert [row[:-1] for row in after["runs"]] == before["runs"]
    assert differences({**before, "runs": []}, {**after, "runs": []}) == []
    copies = list(old_home.root.glob("finetop.duckdb.before-*"))
    assert [copy.name for copy in copies] == ["finetop.duckdb.before-0002_more"]
    assert copies[0].stat().st_mode & 0o077 == 0
    assert differences(before, dump(copies[0])) == []
    survived("33", "database before a migration", written=sum(map(len, before.values())))


def test_the_last_three_copies_are_kept(tmp_path):
    database = tmp_path / "finetop.duckdb"
    open_store(database).close()
    for number in range(10, 16):
        backups.copy(database, f"00{number}_more.sql")
    assert sorted(copy.name for copy in tmp_path.glob("*.before-*")) == [
        f"finetop.duckdb.before-00{number}_more" for number in (13, 14, 15)
    ]


def test_no_copy_no_migration(old_home, monkeypatch):
    whole = old_home.database.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("finetop.core.store.backups.shutil.copyfile", full)
    with newer_finetop(), pytest.raises(StoreTrouble, match="can't be copied first: No space left"):
        open_store(old_home.database)
    assert old_home.database.read_bytes() == whole
    assert list(old_home.root.glob("*before*")) == []


def test_a_database_newer_than_the_program_is_refused_in_words(old_home, survived):
    connection = open_store(old_home.database)
    connection.execute("INSERT INTO migrations VALUES ('9999_future.sql', 0)")
    connection.close()
    with pytest.raises(StoreTrouble, match=r"made by a newer finetop.*Install that version"):
        open_home(old_home)
    survived("33", "database of a newer finetop", written=1)


def newer_events(path, *, before: int, behind: int) -> bytes:
    """Our own events, then those of an attempt with the next format, including a type that we do not know."""
    steps = (events.metrics(step, {"loss": 1.0}) for step in range(1, before + 1))
    store_rows.write(path, events.Started(1, 1, 1, "cpu", "float32", {}), *steps)
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
        with pytest.raises(ingest.NewerEvents, match=r"format 2; this finetop reads 1.*supervisor stop"):
            ingest.take_in(connection, job, path)
    assert connection.execute("SELECT bytes_read, bad_lines FROM jobs").fetchone() == (len(ours), 0)
    assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (5,)
    survived("33", "events of a newer finetop", repeats=3, written=5)


def test_a_run_of_newer_events_is_never_wrongly_marked(rig):
    """An old supervisor meets a trainer of a newer finetop: it reports that, and leaves the run as it is."""
    name = rig.submit(waits_at=2)
    rig.wait_state(name, "running")
    folder = rig.job_folder(name)
    line = {"n": 10_000, "t": 1.0, "e": {"type": "started", "format": 2}}
    with (folder / "events.jsonl").open("ab") as file:
        file.write(json.dumps(line).encode() + b"\n")
    rig.ask(Kill(name))
    while not (folder / "exit.json").exists():
        rig.ask(Changes(0, 0.1))
    while "format 2" not in rig.ask(Changes(0, 0.1)).trouble:
        pass
    assert rig.ask(GetRun(name)).row.state.__class__.__name__ == "Running"
    # the program that reads them comes: one for which this is an ordinary line
    rig.ask(Shutdown())
    rig.processes[-1].wait()
    whole = (folder / "events.jsonl").read_bytes()
    (folder / "events.jsonl").write_bytes(whole.replace(b'"format": 2', b'"format": 1'))
    rig.up()
    assert rig.wait_state(name, "stopped").state.how == "kill"


def test_rebuild_leaves_a_run_of_newer_events_out_and_says_so(quiet):
    quiet.queue("one")
    folder = quiet.home.runs / "0001-one" / "jobs" / "0001-train"
    folder.mkdir(parents=True)
    newer_events(folder / "events.jsonl", before=1, behind=1)
    quiet.close()
    rebuilt = rebuild(quiet.home)
    assert rebuilt.runs == 0
    assert "format 2" in rebuilt.left_out[0]


def test_a_home_that_moved_to_another_disk_works_there(rig, tmp_path, survived):
    """Paths are stored relative: finished runs are shown, waiting ones ran, and a rebuild there gives the same."""
    done = rig.submit("done", steps=20, saved=[10, 20], lost=20, check=True)
    rig.wait_state(done, "finished")
    while not rig.ask(Checks(done)).checks or rig.ask(GetRun(done)).row.checking:
        rig.ask(Changes(0, 0.1))
    rig.ask(Shutdown())
    rig.processes[-1].wait()
    old, new = rig.home.root, tmp_path / "another disk" / ("deep" * 30)
    before = dump(rig.home.database)
    new.parent.mkdir()
    old.rename(new)
    rig.home = Home(new)
    assert differences(before, dump(rig.home.database)) == []
    rebuild(rig.home)
    assert differences(before, dump(rig.home.database)) == []
    rig.up()
    assert rig.ask(GetRun(done)).checkpoints[1].path == "checkpoints/step-000020"
    rig.ask(Resume(done, step=10, anyway=True, recipe=longer(rig, done)))
    assert rig.wait_state(done, "finished").step == 20
    assert rig.ask(ReadLog(done)).size >= 0
    leaks = [
        file for file in new.rglob("*")
        if file.is_file() and file.suffix in (".json", ".yaml") and str(old).encode() in file.read_bytes()
    ]  # fmt: skip
    survived("33", "home moved to another disk", written=sum(map(len, before.values())), wrong=len(leaks))


def longer(rig, name):
    recipe = rig.ask(GetRun(name)).recipe
    return {**recipe, "train": {**recipe["train"], "epochs": 9}}
