"""`pip install finetop` without an extra: what works on a laptop, and the one line for what does not.

Twice: in an environment of links to what is installed here, and (slow) of the wheels that pip resolves.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import light
import pytest
from light import build_wheel
from sample_logs import choice_row, right, write_log
from terminal import Terminal

# Runs commands one after the other in one process, and prints the exit code and the output of each.
SEVERAL = """
import contextlib, io, json, sys
from finetop.core.commands.main import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as error:
            code = error.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""
LINE = "needs finetop[train]: pip install 'finetop[train]'"
MOST_MB = 40
KEEPING = f"finetop: keeping runs on this machine {LINE}\n"


@pytest.fixture(scope="module", params=["links", pytest.param("wheels", marks=pytest.mark.slow)])
def program(request, tmp_path_factory):
    """The program `finetop` of a light install."""
    folder = tmp_path_factory.mktemp("light")
    if request.param == "links":
        return light.from_links(folder / "venv")
    wheels = folder / "wheels"
    wheel = build_wheel(folder)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(wheels)]
    done = subprocess.run([*pip, str(wheel)], capture_output=True, text=True)
    if done.returncode and ("Retrying" in done.stderr or "onnection" in done.stderr):
        pytest.skip("the package registry can't be reached")
    assert done.returncode == 0, done.stderr
    return light.from_wheels(folder / "venv", wheels)


@pytest.fixture
def finetop(program, tmp_path, monkeypatch):
    """Run the program in an empty folder. Returns its exit code and what it printed."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        done = subprocess.run([program, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def alone(finetop, program, tmp_path, monkeypatch):
    """Run several commands, with a home that does not exist: the first as the program, the rest in one process."""
    monkeypatch.setenv("FINETOP_HOME", str(tmp_path / "home"))

    def run(first: list[str], *others: list[str]) -> list[tuple[int, str, str]]:
        command = [program.with_name("python"), "-c", SEVERAL, json.dumps(others)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
        return [finetop(*first), *(tuple(json.loads(line)) for line in done.stdout.splitlines())]

    return run


@pytest.mark.slow
def test_what_needs_no_run_works(alone, tmp_path):
    write_log(tmp_path / "a", "arc", [choice_row(n, right(n)) for n in range(200)])
    write_log(tmp_path / "b", "arc", [choice_row(n, right(n) and n % 10 != 1) for n in range(200)])
    row = json.dumps({"prompt": "Where is it?", "completion": "ana@example.com, DE89370400440532013000"})
    (tmp_path / "rows.jsonl").write_text(f"{row}\n{row}\n")
    *shown, diff, lint, doctor = alone(
        ["--help"], ["--version"], ["methods"], ["suites"], ["recipe", "lora"], ["diff", "a", "b", "--json"],
        ["lint", "rows.jsonl", "--json"], ["doctor"],
    )  # fmt: skip
    for code, out, err in (*shown, doctor):
        assert (code, err, out != "") == (0, "", True), out
    check = json.loads(diff[1])["check"]
    assert (diff[0], diff[2], check["verdict"], check["flips"] != []) == (1, "", "regressed", True)
    findings = json.loads(lint[1])["lint"]["findings"]
    assert (lint[0], lint[2]) == (1, "")
    assert {finding["name"] for finding in findings} >= {"duplicates", "personal"}
    assert "without finetop[train]" in doctor[1]
    assert "To keep and train runs here: pip install 'finetop[train]'." in doctor[1]


@pytest.mark.slow
def test_what_is_missing_is_one_line_and_exit_code_4(alone, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text((light.ROOT / "core/models/demo/config.json").read_text())
    (model / "tokenizer.json").write_text("{}")
    rows = "data.train=[{path: rows.jsonl}]"
    needs = {
        "ls": KEEPING,
        "run -- true": KEEPING,
        "supervisor start": KEEPING,
        "check x": KEEPING,
        "lint rows.jsonl --model model": f"finetop: counting a model's tokens {LINE}\n",
        "lint rows.parquet": f"finetop: reading Parquet {LINE}\n",
        f"plan lora --config model --set '{rows}'": f"finetop: training {LINE}\n",
        f"run lora --set '{rows}'": f"finetop: looking up models on the hub {LINE}\n",
    }
    select = "select rows.jsonl --by diversity --rows 1 --to few.jsonl"
    *answers, (code, _, err) = alone(*map(shlex.split, [*needs, select]))
    assert dict(zip(needs, answers, strict=True)) == {words: (4, "", line) for words, line in needs.items()}
    assert (code, err) == (4, f"finetop: selecting by diversity {LINE}\n")
    assert not (tmp_path / "home" / "supervisor.log").exists()


def test_the_app_on_this_machine_names_the_extra_and_does_not_open(program, tmp_path):
    terminal = Terminal([str(program)], tmp_path / "home", columns=120)
    try:
        assert os.waitstatus_to_exitcode(terminal.wait_end()) == 4
        assert terminal.text().strip() == KEEPING.strip()
    finally:
        terminal.close()


@pytest.mark.slow
def test_another_machine_with_everything_installed_is_listed_and_opened(finetop, program, hosts):
    lab = hosts.host("ana@lab")
    name = lab.submit("there-whole", steps=2)
    code, out, err = finetop("ls", "--on", "ana@lab")
    assert (code, err) == (0, "")
    assert name in out
    terminal = Terminal([str(program), "--on", "ana@lab"], Path(os.environ["FINETOP_HOME"]), columns=120)
    try:
        terminal.wait_text(name)
        terminal.keys("q")
        assert os.waitstatus_to_exitcode(terminal.wait_end()) == 0
    finally:
        terminal.close()


def test_all_its_wheels_together_are_light(program):
    wheels = list(program.parents[2].glob("wheels/*.whl"))
    if not wheels:
        names = light.closure()
        assert not names & {"torch", "duckdb", "scipy", "pyarrow", "transformers", "datasets"}
        assert names >= {"textual", "numpy"}
        return
    assert sum(wheel.stat().st_size for wheel in wheels) <= MOST_MB * 10**6
