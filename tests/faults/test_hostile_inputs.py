"""Fault 21: 80 hostile recipes, settings, data and models through every command that reads one (hostile_inputs.py).

No answer is a traceback or takes 20 s of CPU, and a refusal leaves nothing half made.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import hostile_inputs
import pytest
from drawn import drawn
from hostile_inputs import INPUTS

from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU_S = 20
PART = 2  # inputs per test: their commands take half a minute
PARTS = [part for kind in INPUTS for part in drawn([(kind, begin) for begin in range(0, 20, PART)], 1)]
HANGS_S = 180.0  # of wall time, on a busy machine: a pipe that nobody writes uses no CPU
COMMANDS = {
    "recipe": [
        "run hostile.yaml --hold", "run hostile.yaml --hold --sweep train.seed=1,2", "plan hostile.yaml",
        "lint hostile.yaml", "approaches hostile.yaml --hold", "select hostile.yaml --curve --rows 2 --hold",
    ],
    "settings": ["ls", "run hostile.yaml --hold", "queue", "gpus", "clean", "doctor"],
    "data": [
        "lint rows.jsonl", "lint hostile.yaml", "plan hostile.yaml", "select rows.jsonl --rows 2 --to chosen.jsonl",
        "run hostile.yaml --hold", "approaches hostile.yaml --hold", "run hostile.yaml --name waited --wait",
        "data",
    ],
    "model": [
        "plan hostile.yaml", "plan hostile.yaml --config tiny", "lint hostile.yaml", "lint rows.jsonl --model ./tiny",
        "run hostile.yaml --hold", "import tiny --base tiny", "check --model tiny --base tiny",
        "run hostile.yaml --name waited --wait", "export waited --to out",
    ],
}  # fmt: skip
LEAVES = {"chosen.jsonl", "chosen.manifest.json", "out"}


class Told(NamedTuple):
    """One command's answer to one input."""

    words: str
    code: int | None  # None: it hung
    text: str
    made: frozenset[str]  # files and runs that are new


class User:
    """A user with a home and a folder of one hostile input."""

    def __init__(self, place: Path) -> None:
        self.folder, self.home = place / "here", place / "home"
        self.folder.mkdir()
        self.environment = {**os.environ, "FINETOP_HOME": str(self.home), "HF_HUB_OFFLINE": "1"}

    def give(self, words: str) -> Told:
        before = self.things()
        process = subprocess.Popen(
            [sys.executable, "-m", "finetop.tui.main", *words.split()], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S)),
        )  # fmt: skip
        try:
            text = process.communicate(timeout=HANGS_S)[0].decode(errors="backslashreplace")
            code = process.returncode if process.returncode != -9 else None
        except subprocess.TimeoutExpired:
            process.kill()
            text, code = process.communicate()[0].decode(errors="backslashreplace"), None
        return Told(words, code, text, self.things() - before)

    def things(self) -> frozenset[str]:
        """List the files of the folder and the folders of runs."""
        runs = Home(self.home).runs
        named = {f"run {path.name}" for path in runs.iterdir()} if runs.is_dir() else set()
        return frozenset(named | {path.name for path in self.folder.iterdir()})


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    user = User(tmp_path)
    user.home.mkdir(exist_ok=True)
    yield user
    if not (user.home / "settings.yaml").is_dir():
        (user.home / "settings.yaml").unlink(missing_ok=True)
    user.give("supervisor stop")


def faults_of(told: Told) -> Iterator[str]:
    if told.code is None:
        yield "a hang"
    elif told.code not in (0, 1, 2, 3, 4):
        yield f"exit code {told.code}"
    if "Traceback" in told.text or "internal error" in told.text:
        yield "a traceback"
    if any(not letter.isprintable() and letter not in "\n\r\t" for letter in told.text):
        yield "control characters"
    failed = "FAILED" in told.text or "the import of" in told.text  # a failed run stays, to be read
    if told.code in (2, 4) and told.made and not failed:
        yield f"half made: {', '.join(sorted(told.made))}"
    if told.code == 0 and told.made - LEAVES - {name for name in told.made if name.startswith("run ")}:
        yield f"left behind: {', '.join(sorted(told.made))}"


def attack(user: User, kind: str, what: str, tiny: Path) -> list[Told]:
    """Give one input to every command that reads its kind."""
    shutil.rmtree(user.folder)
    user.folder.mkdir()
    settings = user.home / "settings.yaml"
    if settings.is_dir() and not settings.is_symlink():
        settings.rmdir()
    settings.unlink(missing_ok=True)
    hostile_inputs.write(kind, what, user.folder, tiny, settings)
    return [user.give(words) for words in COMMANDS[kind]]


def run_all(user: User, kind: str, inputs: list[str], tiny: Path) -> Counter[str]:
    """Give these inputs, and count the answers; fail with the wrong ones."""
    if kind == "settings":
        user.give("ls")
    wrong, counts = [], Counter[str]()
    for what in inputs:
        for told in attack(user, kind, what, tiny):
            counts[f"exit {told.code}"] += 1
            if log := os.environ.get("FINETOP_TEST_ANSWERS"):
                with Path(log).open("a") as file:
                    print(json.dumps([kind, what, told.words, told.code, told.text[-600:]]), file=file)
            wrong += [f"{what}: {told.words}: {why}\n{told.text[-800:]}" for why in faults_of(told)]
    assert not wrong, "\n\n".join(wrong)
    return counts


@pytest.mark.parametrize(("kind", "begin"), PARTS)
def test_twenty_of_a_kind(user, tiny_model, survived, kind, begin):
    counts = run_all(user, kind, list(INPUTS[kind])[begin : begin + PART], tiny_model)
    survived(
        "21",
        f"hostile inputs, {kind}: " + ", ".join(f"{n} x {code}" for code, n in sorted(counts.items())),
        repeats=sum(counts.values()),
    )


def test_there_are_80_of_them():
    assert [len(inputs) for inputs in INPUTS.values()] == [20, 20, 20, 20]
