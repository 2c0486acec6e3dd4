"""Without a home, a read-only command creates none, leaves no process behind, and answers as for an empty home."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import psutil
import pytest

from finetop.core.client.connection import Client
from finetop.core.commands.main import main, verbs
from finetop.core.data import weight_files
from finetop.core.errors import NoSupervisor
from finetop.core.protocol import wire
from finetop.core.runtime.home import Home, is_made

# What creates a home: commands that start something in it. All others, and new ones, must leave nothing.
BEGINS = {
    "run": "a run",
    "demo": "two runs",
    "import": "a run",
    "select": "rows that are kept in the home",
    "queue hold": "a queue that stands still",
    "supervisor start": "a supervisor",
}
WORDS = {
    "accept": [["x", "--reason", "r"]],
    "alarms": [[], ["--test"]],
    "approaches": [[]],
    "check": [["x"]],
    "clean": [[], ["--yes"]],
    "compare": [["x", "y"]],
    "completion": [["bash"]],
    "data": [[]],
    "diff": [["x", "y"]],
    "doctor": [[]],
    "export": [["x", "--to", "out"]],
    "flips": [["x"]],
    "gpus": [[]],
    "kill": [["x"]],
    "lint": [["mine.yaml"]],
    "ls": [[]],
    "methods": [[]],
    "note": [["x", "hello"]],
    "open": [["x"]],
    "pause": [["x"]],
    "plan": [["mine.yaml"]],
    "queue": [[], ["release"], ["first", "x"]],
    "rebuild": [[]],
    "recipe": [["lora"]],
    "remedy": [["x"]],
    "report": [["x"]],
    "resume": [["x"]],
    "retry": [["x"]],
    "rm": [["x", "--yes"]],
    "select": [["--list"]],
    "show": [["x"]],
    "sql": [["SELECT count(*) FROM runs"]],
    "stop": [["x"]],
    "suites": [[]],
    "supervisor": [["status"], ["stop"]],
    "sweep": [[]],
    "tag": [["x", "+keep"]],
    "tail": [["x"]],
    "trash": [[], ["--empty", "--yes"], ["--restore", "x"]],
    "triage": [[]],
}
MINE = "recipe: 1\nextends: lora\nname: mine\ncheck: {at_end: false}\ndata: {train: [{path: rows.jsonl}]}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(MINE)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 30)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path


def of_home(home):
    """Return the processes that have a home in their command line."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(home) in (process.info["cmdline"] or [])
    ]


def all_in(folder):
    return sorted(file for file in folder.rglob("*") if not file.name.startswith("torch"))


def answer(arguments, capsys):
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_verb_is_here_or_begins_something():
    assert set(verbs()) == set(WORDS) | {name for name in BEGINS if " " not in name}


@pytest.mark.parametrize(("verb", "words"), [(verb, words) for verb in WORDS for words in WORDS[verb]])
def test_a_verb_makes_no_home_and_leaves_no_process(folder, capsys, verb, words):
    home = folder / "not" / "there"
    before = all_in(folder)
    code, out, errors = answer([verb, *words, "--home", str(home)], capsys)
    assert all_in(folder) == before
    assert not of_home(home)
    assert code in (0, 1, 2, 4) and "Traceback" not in out + errors
    assert out or errors


ALIKE = [
    *(["ls"], ["ls", "--json"], ["queue"], ["gpus"], ["triage"], ["data"], ["sweep"], ["trash"], ["alarms"]),
    *(
        ["sql", "SELECT count(*) FROM runs"],
        ["show", "x"],
        ["tail", "x"],
        ["compare", "x", "y"],
        ["rm", "x", "--yes"],
    ),
    *(["clean"], ["clean", "--yes", "--json"], ["stop", "x"], ["note", "x", "a"]),
]


def test_the_answers_are_those_of_an_empty_home(folder, capsys, rig):
    nowhere = folder / "nowhere"
    nowhere.mkdir(mode=0o700)
    (nowhere / "settings.yaml").write_bytes((rig.home.root / "settings.yaml").read_bytes())

    def shortened(arguments, home):
        code, out, errors = answer([*arguments, "--home", str(home)], capsys)
        return (
            code,
            re.sub(r'"age_s": [0-9.]+', "", out.replace(str(home), "HOME")),
            errors.replace(str(home), "HOME"),
        )

    for arguments in ALIKE:
        assert shortened(arguments, nowhere) == shortened(arguments, rig.home.root)
    assert [file.name for file in nowhere.iterdir()] == ["settings.yaml"]


def test_only_what_begins_something_makes_a_home(folder, capsys):
    makers = {ask.__name__ for ask in wire.requests() if ask.makes_home}
    assert makers == {"Submit", "SubmitChain", "SubmitSweep", "SubmitApproaches", "Import", "Hold"}
    home = Home(folder / "home")
    arguments = [sys.executable, "-m", "finetop.tui.main", "queue", "hold", "--home", str(home.root)]
    subprocess.run(arguments, check=True)
    assert is_made(home)
    assert answer(["supervisor", "stop", "--home", str(home.root)], capsys)[0] == 0


def test_an_empty_folder_is_left_so_and_another_is_refused(folder, capsys):
    (folder / "empty").mkdir(mode=0o700)
    (folder / "empty" / "settings.yaml").write_text("settings: 1\nslots: {cpu_jobs: 3}\n")
    code, out, _ = answer(["gpus", "--home", str(folder / "empty"), "--json"], capsys)
    assert (code, json.loads(out)["cpu_jobs"]) == (0, 3)
    assert [file.name for file in (folder / "empty").iterdir()] == ["settings.yaml"]
    code, _, errors = answer(["ls", "--home", str(folder)], capsys)
    assert code == 4 and "it holds" in errors


def test_what_lint_keeps_makes_a_home_of_its_folder(folder):
    """Caches in a folder that was no home used to make `ls` refuse it for good."""
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    home = Home(folder / "home")
    weight_files.weights_hash(folder / "model", home)
    assert is_made(home)


def test_status_says_how_one_is_started(folder, capsys):
    with pytest.raises(NoSupervisor, match=r"`finetop supervisor start` starts one"):
        Client(Home(folder / "home"), start=False)
