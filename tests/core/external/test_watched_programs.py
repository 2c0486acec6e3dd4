"""`finetop watch`: programs that a test starts by itself, read by the real supervisor's jobs and never signalled."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest
from typed import refuses
from waiting import wait_until

from finetop.core.protocol.messages.machine import FindProgram
from finetop.core.protocol.messages.runs import GetRun

SETTINGS = "settings: 1\nretry: {times: 2, wait_s: 0}\nslots: {cpu_jobs: 1}\n"
STEPS = [(step, round(1 / step, 4)) for step in range(1, 9)]
# Writes steps into --output_dir as it is let go on; at its end the adapter, and how it ended.
PROGRAM = """
import json, pathlib, shutil, signal, sys, time
out, signals = pathlib.Path(sys.argv[-1]), []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):
    signal.signal(number, lambda got, frame: signals.append(got))
out.mkdir(exist_ok=True)
with open(out / "metrics.jsonl", "a", buffering=1) as file:
    for step in range(1, 9):
        while step > 4 and not pathlib.Path("go").exists():
            time.sleep(0.02)
        print(json.dumps({"step": step, "loss": 1 / step}), file=file)
    shutil.copytree("adapter", out, dirs_exist_ok=True)
    pathlib.Path("signals").write_text(repr(signals))
"""


@pytest.fixture
def program(tmp_path, adapter):
    """A training that runs without finetop, in the test's folder."""
    (tmp_path / "own.py").write_text(PROGRAM)
    with (tmp_path / "own.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "own.py", "--output_dir", "made"], cwd=tmp_path, stdout=log, stderr=log
        )
    wait_until(lambda: (tmp_path / "made" / "metrics.jsonl").exists())
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def let_go(program, tmp_path):
    """Return a function that lets the program go on to its end, which nothing disturbed."""

    def go():
        (tmp_path / "go").touch()
        assert program.wait() == 0
        assert (tmp_path / "signals").read_text() == "[]"

    return go


@pytest.mark.slow
def test_it_is_read_until_it_ends_and_what_it_made_is_checked(
    finetop, station, program, let_go, losses, base
):
    code, out, err = finetop("watch", str(program.pid), "--name", "read", "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert (answer["run"], answer["pid"]) == ("read", program.pid)
    assert answer["log"].endswith("own.log")
    station.wait_step("read", 4)
    row = station.ask(GetRun("read")).row
    assert (type(row.state).__name__, row.objective) == ("Running", "watched")
    let_go()
    station.wait_state("read", "finished")
    run = wait_until(lambda: len(station.ask(GetRun("read")).jobs) == 3 and station.ask(GetRun("read")))
    finetop("stop", "read")  # this base can't be loaded
    assert [job.verb for job in run.jobs] == ["watch", "import", "check"]
    assert (run.row.method, run.row.model, run.row.step) == ("lora", str(base), 8)
    assert losses("read") == STEPS


def test_output_and_base_of_a_watch_are_the_shells(finetop, station, program, tmp_path, monkeypatch):
    shell = tmp_path / "shell"
    (shell / "base").mkdir(parents=True)
    monkeypatch.chdir(shell)
    code, _, err = finetop(
        "watch", str(program.pid), "--output", "../made", "--base", "base", "--name", "shells"
    )
    assert code == 0, err
    recipe = station.ask(GetRun("shells")).recipe
    assert recipe["model"]["id"] == str(shell / "base")
    assert os.path.normpath(recipe["command"]["output"]) == str(tmp_path / "made")
    assert recipe["command"]["workdir"] == str(tmp_path)
    finetop("stop", "shells")


@pytest.mark.slow
def test_a_watch_takes_no_slot_and_can_be_stopped_and_taken_up_again(
    finetop, queue, station, program, let_go, losses
):
    long = queue(sys.executable, "train.py", "1", "1", "hold", name="long")  # it has the only slot
    station.wait_state(long, "running")
    assert finetop("watch", "made", "--name", "w")[0] == 0
    station.wait_step("w", 4)
    code, _, err = finetop("pause", "w")
    assert code == 1 and "the watch of w can't be paused" in err and "finetop stop w" in err
    assert finetop("stop", "w")[0] == 0
    station.wait_state("w", "stopped")
    assert program.poll() is None
    code, _, err = finetop("resume", "w")
    assert code == 1 and "finetop retry w" in err
    assert finetop("retry", "w")[0] == 0
    station.wait_state("w", "running")
    let_go()
    station.wait_state("w", "finished", "queued")
    assert losses("w") == STEPS
    finetop("stop", "w")
    finetop("stop", long)
    station.wait_state(long, "stopped")


@pytest.mark.slow
def test_a_killed_watch_goes_on_by_itself_and_loses_and_doubles_nothing(
    finetop, station, program, let_go, losses
):
    code, out, err = finetop("watch", "made", "--name", "killed", "--json")
    assert code == 0, err
    assert json.loads(out)["pid"] == program.pid  # of the program that writes into the folder
    station.wait_step("killed", 4)
    os.kill(station.process_of("killed"), signal.SIGKILL)
    wait_until(lambda: len(station.ask(GetRun("killed")).jobs) == 2)
    station.wait_state("killed", "running")
    let_go()
    wait_until(lambda: len(losses("killed")) == 8 or None)
    station.wait_state("killed", "finished", "queued")
    assert losses("killed") == STEPS
    finetop("stop", "killed")


def test_what_can_not_be_watched_is_refused_in_one_line(finetop, tmp_path):
    (tmp_path / "own.txt").touch()
    (tmp_path / "round").symlink_to("round")
    cases = {
        "round": "is a link that leads to itself",
        "nowhere": "there is no folder",
        "999999999": "there is no process 999999999",
        "own.txt": "and it is no process id",
        "/": "/ holds every program's files",
    }
    refuses(finetop, cases, "watch")


def test_of_several_programs_that_write_to_a_folder_one_is_named(finetop, tmp_path):
    (tmp_path / "out").mkdir()
    holds = "import sys; file = open(sys.argv[1], 'ab'); print(flush=True); sys.stdin.read()"
    with ExitStack() as stack:
        pids = []
        for name in ("one", "two"):
            words, pipe = [sys.executable, "-c", holds, f"out/{name}"], subprocess.PIPE
            process = subprocess.Popen(words, cwd=tmp_path, stdin=pipe, stdout=pipe, start_new_session=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout.readline()
            pids.append(process.pid)
        code, _, err = finetop("watch", "out")
    assert code == 2 and "2 programs write to" in err and "finetop watch PID" in err
    assert all(f"{pid} (" in err for pid in pids)


def test_finetops_own_processes_are_no_program_that_writes_to_a_folder(station):
    # jobs of the tests before, which are forks of a script here and have its words, may still be ending
    root = str(station.home.root)
    wait_until(lambda: station.ask(FindProgram(root)).pid == 0, "the supervisor is not taken for one")


@pytest.mark.slow
def test_a_folder_without_a_program_is_watched_too(finetop, station, tmp_path, losses):
    (tmp_path / "made").mkdir()
    lines = [json.dumps({"step": step, "loss": 1 / step}) + "\n" for step in range(1, 4)]
    (tmp_path / "made" / "metrics.jsonl").write_text("".join(lines))
    code, out, err = finetop("watch", "made", "--name", "alone")
    assert code == 0, err
    assert "until nothing new has come for 10 minutes" in out
    station.wait_step("alone", 3)
    finetop("stop", "alone")
    assert station.wait_state("alone", "stopped").state.how == "stop"
    assert losses("alone") == STEPS[:3]
