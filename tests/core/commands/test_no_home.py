"""Without a home, a read-only command creates none, leaves no process behind, and answers as for an empty home."""

import json
import os
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
from fork_server import fork_server
from rig import Rig, write_recipe

from finetop.core.client import connection
from finetop.core.client.connection import Client
from finetop.core.commands.main import verbs
from finetop.core.data import weight_files
from finetop.core.errors import NoSupervisor
from finetop.core.protocol import wire
from finetop.core.runtime.home import Home, is_made
from finetop.core.supervisor import stand_in
from finetop.tui.kept import keep

# What creates a home: commands that start something in it. All others, and new ones, must leave nothing.
BEGINS = {
    "run": "a run",
    "watch": "a run",
    "demo": "two runs",
    "import": "a run",
    "select": "rows that are kept in the home",
    "queue hold": "a queue that stands still",
    "supervisor start": "a supervisor",
}
LEAVES_NOTHING = """
accept x --reason r; alarms --test; approaches; ask x a; chat x; check x; completion bash; diff x y; doctor
export x --to out; flips x; kill x; lint mine.yaml; methods; open x; pause x
plan mine.yaml --set check.general.suite=quik; push x org/name; queue release; queue first x; rebuild; recipe lora
remedy x; report x; resume x; retry x; select --list; suites; supervisor status; supervisor stop; tag x +keep
trash --empty --yes; trash --restore x
"""
ALIKE = """
alarms; clean; clean --yes --json; compare x y; data; gpus; ls; ls --json; note x a; queue; rm x --yes; show x
sql 'SELECT count(*) FROM runs'; stop x; sweep; tail x; trash; triage
"""


def commands(text):
    return [line.strip() for line in text.strip().replace("\n", ";").split(";")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path, "mine")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path


@pytest.fixture(scope="module")
def empty_home(tmp_path_factory):
    """A home with a supervisor, in which nothing ever happens."""
    rig = Rig(Home(tmp_path_factory.mktemp("empty") / "home"))
    rig.up()
    yield rig.home.root
    rig.stop_all()


def of_home(home):
    """Return the processes that have a home in their command line."""
    processes = psutil.process_iter(["cmdline"])
    return [process for process in processes if str(home) in (process.info["cmdline"] or [])]


def all_in(folder):
    return sorted(file for file in folder.rglob("*") if not file.name.startswith("torch"))


def test_every_verb_is_here_or_begins_something():
    tried = {command_line.split()[0] for command_line in commands(LEAVES_NOTHING) + commands(ALIKE)}
    assert set(verbs()) == tried | {name for name in BEGINS if " " not in name}


@pytest.fixture
def stand_ins(monkeypatch, tmp_path):
    """The stand-ins that commands start: real ones, but forked, which saves each 0.6 s of CPU."""
    started = []
    (tmp_path / "log").touch()

    def start(arguments, *, stdin, start_new_session, cwd):
        assert start_new_session and arguments[1:4] == ["-P", "-m", stand_in.__name__]
        program = [stand_in.__file__, *arguments[4:]]
        started.append(fork_server().start(program, tmp_path / "log", os.environ, stdin))
        return started[-1]

    forks = SimpleNamespace(Popen=start, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(connection, "subprocess", forks)
    return started


@pytest.mark.parametrize("command_line", commands(LEAVES_NOTHING) + commands(ALIKE))
def test_a_verb_makes_no_home_leaves_no_process_and_answers_as_an_empty_home(
    folder, command, request, stand_ins, command_line
):
    def answer(home):
        code, out, errors = command(*shlex.split(command_line), "--home", str(home))
        out = re.sub(r'"age_s": [0-9.]+', "", out.replace(str(home), "HOME"))
        return code, out, errors.replace(str(home), "HOME")

    home = folder / "not" / "there"
    before = all_in(folder)
    code, out, errors = answer(home)
    assert all_in(folder) == before
    assert not of_home(home) and all(process.poll() is not None for process in stand_ins)
    assert code in (0, 1, 2, 4) and "Traceback" not in out + errors
    assert out or errors
    if command_line in commands(ALIKE):
        assert (code, out, errors) == answer(request.getfixturevalue("empty_home"))


def test_only_what_begins_something_makes_a_home(folder, command):
    makers = {ask.__name__ for ask in wire.requests() if ask.makes_home}
    assert makers == {"Submit", "SubmitChain", "SubmitSweep", "SubmitApproaches", "Import", "Watch", "Hold"}
    home = Home(folder / "home")
    arguments = [sys.executable, "-m", "finetop.tui.main", "queue", "hold", "--home", str(home.root)]
    subprocess.run(arguments, check=True)
    assert is_made(home)
    assert command("supervisor", "stop", "--home", str(home.root))[0] == 0


def test_an_empty_folder_is_left_so_and_another_is_refused(folder, command):
    (folder / "empty").mkdir(mode=0o700)
    (folder / "empty" / "settings.yaml").write_text("settings: 1\nslots: {cpu_jobs: 3}\n")
    code, out, _ = command("gpus", "--home", str(folder / "empty"), "--json")
    assert (code, json.loads(out)["cpu_jobs"]) == (0, 3)
    assert not of_home(folder / "empty"), "the stand-in has ended"
    assert [file.name for file in (folder / "empty").iterdir()] == ["settings.yaml"]
    code, _, errors = command("ls", "--home", str(folder))
    assert code == 4 and "it holds" in errors


def test_what_lint_finds_is_kept_in_a_home_of_its_own(folder, command):
    """An empty folder that --home names becomes a home before anything is in it; another is left alone."""
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    for name, content in (("empty", None), ("project", "notes.txt")):
        (folder / name).mkdir(mode=0o700)
        if content:
            (folder / name / content).touch()
        assert command("lint", "rows.jsonl", "--home", str(folder / name))[0] == 0
    assert is_made(Home(folder / "empty"))
    assert [file.name for file in (folder / "project").iterdir()] == ["notes.txt"]


def test_what_the_app_keeps_leaves_an_empty_folder_fit_for_a_home(folder):
    (folder / "home").mkdir(mode=0o700)
    keep(Home(folder / "home"), theme="nord")
    assert not is_made(Home(folder / "home"))


def test_what_lint_keeps_makes_a_home_of_its_folder(folder):
    """Caches in a folder that was no home used to make `ls` refuse it for good."""
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    home = Home(folder / "home")
    weight_files.weights_hash(folder / "model", home)
    assert is_made(home)


def test_status_says_how_one_is_started(folder):
    with pytest.raises(NoSupervisor, match=r"`finetop supervisor start` starts one"):
        Client(Home(folder / "home"), start=False)
