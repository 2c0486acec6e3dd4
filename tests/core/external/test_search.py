"""Which files are a program's: those that its processes write, and those in a folder where nobody else works."""

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from metric_files import Program, history, json_lines, leveldb, process, put, scalars
from waiting import wait_until

from finetop.core.external import writers
from finetop.core.external.sources import trackio
from finetop.core.external.sources._sqlite import Locked, opened
from finetop.core.external.watch import started_at
from finetop.core.protocol import events
from finetop.core.protocol.numbers_from import NumbersFrom
from finetop.core.runtime import processes

AT = 1.8e9
pytestmark = pytest.mark.usefixtures("at_once")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def program(folder: Path) -> Iterator[Program]:
    """A program of one process, in its folder."""
    with process(folder) as own:
        yield Program(folder, root=own.pid)


def lines(*points: tuple[int, float]) -> str:
    return json_lines(*({"step": step, "loss": loss} for step, loss in points))


def event_file(pid: int, host: str = "") -> str:
    return f"events.out.tfevents.1800000000.{host or socket.gethostname()}.{pid}.0"


def test_an_event_file_names_its_process(program, folder):
    with process(folder) as other:
        program.append(f"runs/{event_file(other.pid)}", scalars(1, AT, loss=9.0))
        program.append(f"runs/{event_file(program.root)}", scalars(1, AT, loss=1.0)).look()
        assert program.values() == [(1, 1.0)]
        (why,) = program.left_out().values()
        assert why.startswith(f"process {other.pid} (")
        assert why.endswith(") wrote it")
    assert program.look().values() == [(1, 1.0)]  # and once that has ended
    assert list(program.left_out().values()) == [why]


def test_an_event_file_of_another_machine_is_believed_while_nobody_else_works_in_the_folder(program, folder):
    names = [f"runs/{name}/{event_file(2**22 - 3, 'elsewhere')}" for name in ("a", "b")]
    with process(folder):
        program.append(names[0], scalars(1, AT, loss=9.0)).look()
        assert program.values() == []
        assert "works in its folder too" in program.left_out()[names[0]]
    program.append(names[1], scalars(1, AT, loss=1.0)).look()
    assert program.values() == [(1, 1.0)]


def test_an_event_file_of_a_process_that_was_never_seen_is_not_believed(program):
    name = event_file(2**22 - 3)
    program.append(name, scalars(1, AT, loss=9.0)).look()
    assert program.values() == []
    assert program.left_out() == {name: f"process {2**22 - 3} wrote it"}


def test_a_run_of_wandb_names_its_process_in_its_log(program, folder):
    with process(folder) as other:
        for name, pid, loss in (("run-1-a", program.root, 1.0), ("run-2-b", other.pid, 9.0)):
            program.append(f"wandb/{name}/run-{name[-1]}.wandb", leveldb(history(1, loss=loss)))
            program.append(
                f"wandb/{name}/logs/debug.log", f"2026-12-02 INFO    MainThread:{pid} [wandb_setup.py]\n"
            )
        assert program.look().values() == [(1, 1.0)]
        assert list(program.left_out()) == ["wandb/run-2-b/run-b.wandb"]


def test_in_a_shared_folder_a_file_is_believed_once_a_process_of_the_program_has_it_open(folder):
    file = put(folder / "metrics.jsonl", lines((1, 1.0)))
    with process(folder) as own, process(folder):
        program = Program(folder, root=own.pid).look()
        assert program.values() == []
        assert "works in its folder too" in program.left_out()["metrics.jsonl"]
    with process(folder, file) as own, process(folder):
        program = Program(folder, root=own.pid).look()
        assert program.values() == [(1, 1.0)]
        assert program.left_out() == {}
        told = [event for event in program.seen if isinstance(event, NumbersFrom)][-1]
        assert [(file.source, file.metrics) for file in told.read] == [("lines", ["loss"])]
        assert "has it open" in told.read[0].why


def test_in_a_shared_folder_a_file_that_the_program_had_open_stays_its_own(folder, tmp_path):
    """tensorboardX names no process in its file, and closes it at its end."""
    name = "events.out.tfevents.1800000000.host"
    file = put(folder / "runs" / "a" / name, scalars(1, AT, loss=1.0))
    with process(folder):
        with process(folder, file) as own:
            program = Program(folder, root=own.pid)
            program.numbers.look_around()
        put(folder / "runs" / "b" / name, scalars(1, AT, loss=9.0))
        later = Program(folder, root=own.pid)
        later.numbers.go_on(program.numbers.state())  # of a process that was killed
        for one in (program, later):
            assert one.look(is_last=True).values() == [(1, 1.0)]
            assert list(one.left_out()) == [f"runs/b/{name}"]


def test_a_file_with_the_inode_of_one_that_the_program_deleted_is_not_its_own(program, folder):
    file = put(folder / "metrics.jsonl", lines((1, 9.0)))
    facts = file.stat()
    program.writers.written[facts.st_dev, facts.st_ino] = str(folder / "gone.jsonl")
    with process(folder):
        assert program.look().values() == []
        program.writers.written[facts.st_dev, facts.st_ino] = str(file.resolve())
        assert program.look().values() == [(1, 9.0)]


def test_a_file_that_another_process_has_open_is_foreign_wherever_that_works(program, folder, tmp_path):
    with process(tmp_path, put(folder / "metrics.jsonl", lines((1, 9.0)))) as other:
        assert program.look().values() == []
        assert program.left_out()["metrics.jsonl"].startswith(f"process {other.pid} ")


def test_what_a_program_wrote_that_has_ended_is_not_believed(folder, program):
    """It was there when this program began, and ended before anybody looked for files."""
    with process(folder):
        program.numbers.look_around()
        program.append("metrics.csv", "step,loss\n53,9.0\n")
    assert program.look().values() == []
    assert "works in its folder too" in program.left_out()["metrics.csv"]
    program.append("metrics.jsonl", lines((1, 1.0))).look()  # a file that came when it was gone
    assert program.values() == [(1, 1.0)]


def test_of_a_watched_process_a_table_counts_once_it_grows(folder):
    put(folder / "metrics.csv", "step,loss\n1,9.0\n")
    with process(folder) as own:
        program = Program(folder, root=own.pid)
        program.numbers._search.written_since = time.time() + 5
        assert program.look().values() == []
        assert program.left_out() == {"metrics.csv": "nothing was written to it since the watch began"}
        os.utime(folder / "metrics.csv", (time.time() + 9,) * 2)
        assert program.look().values() == [(1, 9.0)]


@pytest.mark.parametrize(
    ("words", "is_onlooker"),
    [
        (["-bash"], True),
        (["bash", "train.sh"], False),
        (["/usr/bin/python3", "/opt/bin/tensorboard", "--logdir", "runs"], True),
        (["python", "-m", "finetop.tui.main"], True),
        (["python", "train.py"], False),
        (["accelerate", "launch", "train.py"], False),
    ],
)
def test_programs_that_write_no_metrics_may_work_in_the_folder(words, is_onlooker):
    assert writers._is_onlooker(words, writers._program_of(words)) == is_onlooker


def test_what_proves_to_be_of_another_program_is_taken_back(folder, tmp_path):
    """It wrote the file before this program was seen alone with it; what is believed still is reported anew."""
    file = put(folder / "metrics.jsonl", lines((0, 9.0), (1, 9.0), (7, 9.0)))
    with process(folder) as own, process(tmp_path) as other:
        program = Program(folder, root=own.pid)
        program.append("log.txt", "step 1 loss 1.0\nstep 2 loss 0.5\n").look()
        assert program.values()[0] == (0, 9.0)
        program.writers.has_open = lambda path: (0, other.pid if path == file else 0)
        program.look().look()
        assert program.values() == [(1, 1.0), (2, 0.5)]
        (taken,) = (event for event in program.seen if isinstance(event, events.TakenBack))
        assert (taken.step, taken.file) == (0, "metrics.jsonl")
        program.writers.has_open = lambda path: (0, 0)  # closed, it is still that one's
        assert program.look().left_out()["metrics.jsonl"] == f"process {other.pid} (python) writes it"


def test_a_program_that_comes_later_and_begins_anew_in_the_same_file_is_left_out(program, folder, capsys):
    program.append("metrics.jsonl", lines((5, 1.0), (6, 0.9))).look()
    with process(folder):
        program.append("metrics.jsonl", lines((7, 0.8))).look()
        program.append("metrics.jsonl", lines((1, 9.0), (8, 9.0))).look().look()
    assert program.values() == [(5, 1.0), (6, 0.9), (7, 0.8)]
    assert "its steps start over" in capsys.readouterr().out


def test_files_that_were_written_before_a_watched_process_began_are_not_its_own(folder):
    put(folder / "metrics.jsonl", lines((195, 9.0)))
    os.utime(folder / "metrics.jsonl", (time.time() - 7200,) * 2)
    with process(folder) as own:
        began = started_at(own.pid, str(processes.start_time(own.pid)))
        assert abs(began - time.time()) < 600
        assert Program(folder, root=own.pid, since=began).look().values() == []


def test_only_processes_that_work_near_the_program_are_remembered(program, folder, tmp_path):
    """A machine starts thousands of others in a day, and each file is compared with all of them."""
    with process(tmp_path) as elsewhere, process(folder) as near:
        program.look()
        assert program.writers.met.keys() & {elsewhere.pid, near.pid} == {near.pid}


def test_one_look_at_the_machine_serves_all_files(program, folder, monkeypatch):
    for number in range(300):
        name = event_file(program.root).removesuffix("0") + str(number)
        put(folder / "runs" / name, scalars(1, AT, **{f"loss_{number}": 1.0}))
    looks: list[str] = []
    snapshot, scandir = processes.snapshot, os.scandir
    monkeypatch.setattr(processes, "snapshot", lambda: looks.append("processes") or snapshot())
    monkeypatch.setattr(os, "scandir", lambda path: looks.append(path) or scandir(path))
    assert len(program.look().names()) == 300
    assert looks.count("processes") == 1
    assert looks.count(f"/proc/{program.root}/fd") == 1


METRICS = "CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_id, timestamp, run_name, step, metrics)"
CONFIGS = "CREATE TABLE configs (id INTEGER PRIMARY KEY, run_id, run_name, config, created_at)"


def project(home: Path, *runs: tuple[str, float], name: str = "demo", **config: object) -> Path:
    """Add runs to a project of trackio, each by its name with one loss."""
    path = home / f"{name}.db"
    home.mkdir(exist_ok=True)
    is_new = not path.exists()
    with closing(sqlite3.connect(path)) as database, database:
        for sql in (METRICS, CONFIGS) if is_new else ():
            database.execute(sql)
        for run, loss in runs:
            now, run_id = datetime.now(UTC).isoformat(), os.urandom(4).hex()
            row = (run_id, now, run, 1, json.dumps({"loss": loss}))
            database.execute("INSERT INTO metrics VALUES (NULL, ?, ?, ?, ?, ?)", row)
            row = (run_id, run, json.dumps(config), now)
            database.execute("INSERT INTO configs VALUES (NULL, ?, ?, ?, ?)", row)
    return path


def printed(run: str, name: str = "demo") -> str:
    return f"* Trackio project initialized: {name}\n* Created new run: {run}\n"


@pytest.fixture
def tracked(program: Program, tmp_path: Path) -> Program:
    """The program, with trackio's folder of all programs of the user."""
    return Program(
        program.folder,
        root=program.root,
        since=time.time() - 60,
        environment={"TRACKIO_DIR": str(tmp_path / "all")},
    )


def test_another_programs_run_of_trackio_is_left_out(tracked, tmp_path):
    project(tmp_path / "all", ("theirs", 77.59))
    tracked.append("log.txt", "step 1 loss 1.0\n").look()
    assert tracked.values() == [(1, 1.0)]
    assert tracked.left_out() == {str(tmp_path / "all" / "demo.db"): "this program names no run in it"}


def test_the_run_that_the_program_prints_is_its_own(tracked, tmp_path):
    project(tmp_path / "all", ("theirs", 77.59), lr=9.0)
    project(tmp_path / "all", ("mine", 1.5), lr=0.5)
    project(tmp_path / "all", ("mine", 66.6), name="other")
    tracked.append("log.txt", printed("mine")).look()
    assert tracked.values() == [(1, 1.5)]
    assert [event for event in tracked.seen if isinstance(event, NumbersFrom)][-1].settings == {"lr": 0.5}
    assert list(tracked.left_out()) == [str(tmp_path / "all" / "other.db")]
    with process(tmp_path, tmp_path / "all" / "demo.db"):  # the others write to it too
        assert tracked.look().look().values() == [(1, 1.5)]


def test_two_runs_of_one_name_that_began_together_cant_be_told_apart(tracked, tmp_path):
    project(tmp_path / "all", ("dainty-sunset-0", 77.59))
    tracked.append("log.txt", printed("dainty-sunset-0")).look()
    assert tracked.values() == [(1, 77.59)]
    project(tmp_path / "all", ("dainty-sunset-0", 1.5))
    assert tracked.look().look().values() == []
    assert tracked.left_out() == {
        str(tmp_path / "all" / "demo.db"): "2 programs name their runs dainty-sunset-0"
    }


def test_a_run_whose_configuration_names_the_output_folder_is_the_programs(tracked, tmp_path, folder):
    project(tmp_path / "all", ("theirs", 77.59), output_dir="/elsewhere")
    project(tmp_path / "all", ("mine", 1.5), output_dir=str(folder / "out"))
    object.__setattr__(tracked.numbers._search.places, "folders", (folder / "out", folder))
    assert tracked.look().values() == [(1, 1.5)]


@contextmanager
def locked_for(path: Path, released: Callable[[], bool]) -> Iterator[None]:
    """Lock a database as a program that writes to it does, until something is so."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as database:
        database.execute("BEGIN EXCLUSIVE")
        release = threading.Thread(target=lambda: (wait_until(released), database.execute("COMMIT")))
        release.start()
        yield
        release.join()


def test_a_run_is_found_at_last_though_others_lock_the_database_all_the_time(tracked, tmp_path, monkeypatch):
    tries = patched_tries(monkeypatch)
    path = project(tmp_path / "all", ("theirs", 77.59), ("mine", 1.5))
    tracked.append("log.txt", printed("mine"))
    with locked_for(path, lambda: len(tries) > 1):
        assert tracked.look().values() == []
        assert tracked.left_out() == {str(path): "another program has it locked"}
        tracked.look(is_last=True)
    assert tracked.values() == [(1, 1.5)]
    assert tracked.left_out() == {}


def test_the_last_values_of_a_run_are_read_once_others_let_them(tracked, tmp_path, monkeypatch):
    path = project(tmp_path / "all", ("mine", 1.5))
    tracked.append("log.txt", printed("mine")).look()
    assert tracked.values() == [(1, 1.5)]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "INSERT INTO metrics SELECT NULL, run_id, timestamp, run_name, 2, metrics FROM metrics"
        )
    tries = patched_tries(monkeypatch)
    with locked_for(path, lambda: len(tries) > 1):
        tracked.look(is_last=True)
    assert tracked.values() == [(1, 1.5), (2, 1.5)]


def patched_tries(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the list of the databases that could not be opened for a lock, as it grows."""
    tries: list[Path] = []

    @contextmanager
    def noted(path: Path, *tables: str) -> Iterator[sqlite3.Connection]:
        try:
            with opened(path, *tables) as database:
                yield database
        except Locked:
            tries.append(path)
            raise

    monkeypatch.setattr(trackio, "opened", noted)
    return tries


def test_the_only_run_is_the_programs_if_it_has_the_database_open(tmp_path, folder):
    path = project(tmp_path / "all", ("mine", 1.5))
    with process(folder, path) as own:
        environment = {"TRACKIO_DIR": str(path.parent)}
        tracked = Program(folder, root=own.pid, since=time.time() - 60, environment=environment)
        assert tracked.look().values() == [(1, 1.5)]
        project(path.parent, ("theirs", 77.59))
        assert tracked.look().look().values() == [(1, 1.5)]
