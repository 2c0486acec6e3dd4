"""Other programs as runs of a rig: a home whose commands, watches and imports are real."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from rig import ALONE, SEVERAL
from waiting import wait_until

from finetop.core.external.recipe import CommandRequest, command_recipe, with_environment
from finetop.core.protocol.messages.runs import Sql
from finetop.core.protocol.messages.submit import Submit
from finetop.core.runtime import processes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rig import Rig

JOB = Path(__file__).with_name("command_job.py")
# Reports each step, then notes it in a side file, to the last step or until a file `end` is there.
STEPS = """
    import json, os, sys, time
    last, pause_s = int(sys.argv[1]), float(sys.argv[2])
    side = open("side.txt", "ab", buffering=0)
    {begin}
    for step in range(1, last + 1):
        {tell}
        side.write(f"{{step}}\\n".encode())
        if os.path.exists("end"):
            break
        time.sleep(pause_s)
"""
# As finetop.log does.
LOOP = STEPS.format(
    begin='metrics = open(os.environ["FINETOP_METRICS"], "ab", buffering=0)',
    tell='metrics.write(json.dumps({"step": step, "loss": 1.0 / step}).encode() + b"\\n")',
)
# By printing: what is printed first waits for a better source.
PRINTING_LOOP = STEPS.format(begin="", tell='os.write(1, f"step {step} loss {1.0 / step}\\n".encode())')


def up(rig: Rig, **environment: str) -> None:
    """Start a supervisor whose commands are real, several at a time unless the rig has settings of its own."""
    rig.settings = SEVERAL if rig.settings == ALONE else rig.settings
    rig.variables = {**rig.variables, "FINETOP_TEST_JOB": str(JOB), **environment}
    rig.up()


def python(script: str, *words: object) -> list[str]:
    """Return the words that run a Python script, written with any indentation."""
    return [sys.executable, "-c", dedent(script), *map(str, words)]


def submit(
    rig: Rig, folder: Path, words: Sequence[str], name: str = "theirs", *sets: str, **request: Any
) -> str:
    """Queue a command in a folder, which is made, and return its run's name."""
    folder.mkdir(exist_ok=True)
    loaded = command_recipe(CommandRequest(tuple(words), folder, name=name, **request), sets)
    return str(rig.ask(Submit(with_environment(loaded.resolved), loaded.text, name)).name)


def stored(rig: Rig, name: str, key: str = "loss") -> list[int]:
    """Return the steps of a run's metric in the store, one per row."""
    query = f"SELECT m.step FROM metrics m JOIN runs r ON r.id = m.run_id WHERE m.key = '{key}'"
    return [step for (step,) in rig.ask(Sql(f"{query} AND r.name = '{name}' ORDER BY m.step", 100_000)).rows]


def noted(folder: Path) -> list[int]:
    """Return the steps that a loop has noted in its side file."""
    file = folder / "side.txt"
    return [int(step) for step in file.read_text().split()] if file.exists() else []


def program_of(rig: Rig, name: str) -> int:
    """Return the process of a run's command, once it is there."""
    return int(wait_until(lambda: next(iter(processes.descendants(rig.process_of(name))), 0), "its program"))
