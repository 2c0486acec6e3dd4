"""What each process loads, and what it never does: read from sys.modules of the real processes."""

import os
import subprocess
import sys

import pytest

TRAINING = {"torch", "transformers", "trl", "peft", "datasets"}
FORBIDDEN = {  # modules of processes that load none of these, one process for those that have the same
    "finetop.tui.app": {*TRAINING, "duckdb", "lm_eval", "pyarrow"},
    "finetop.tui.main, finetop.core.commands.import_, finetop.core.commands.check": {
        *TRAINING, "duckdb", "textual", "pyarrow", "numpy",
    },
    "finetop.core.supervisor.__main__": {*TRAINING, "textual", "pyarrow"},
    "finetop.core.runtime.keeper": {"torch", "duckdb", "textual", "msgspec", "numpy", "finetop.core.protocol.events"},
    "finetop.core.run_job, finetop.core.models.imports.job": {"textual", "duckdb", "torch", "transformers", "peft"},
    "finetop.core.train.job, finetop.core.check.job": {"textual", "duckdb"},
}  # fmt: skip


@pytest.mark.parametrize("modules", FORBIDDEN)
def test_importing_a_process_loads_nothing_forbidden(modules):
    code = f"import sys, {modules}; print(sorted(set(sys.argv[1].split(',')) & set(sys.modules)))"
    made = subprocess.run(
        [sys.executable, "-c", code, ",".join(FORBIDDEN[modules])], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": ""}, cwd="/",
    )  # fmt: skip
    assert made.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_supervisor_that_has_worked_has_loaded_no_torch():
    """Deferred imports stay deferred: a beat, a page, a submit and a query in one process."""
    code = """
import asyncio, sys, tempfile
from pathlib import Path
from finetop.core.protocol.messages.checks import Checks
from finetop.core.protocol.messages.runs import Curves, GetRun, ReadLog, Runs, Sql
from finetop.core.protocol.messages.session import Hello
from finetop.core.protocol.messages.submit import Submit
from finetop.core.runtime.home import Home, prepare
from finetop.core.recipe.load import resolve_text
from finetop.core.store.database import open_store
from finetop.core.supervisor import tick
from finetop.core.supervisor.requests import dispatch
from finetop.core.supervisor.state import Supervisor
async def start(*about): pass
tick.start = start
home = Home(Path(tempfile.mkdtemp()) / "h"); prepare(home)
s = Supervisor(home, open_store(home.database))
loaded = resolve_text("recipe: 1\\nextends: lora\\nname: x\\n")
async def work():
    await dispatch.answer(s, Submit(loaded.resolved, loaded.text, "x"))
    await tick.beat(s)
    for ask in (Hello(), Runs(), GetRun("x"), Curves("x", [], 10, 10), Sql("SELECT 1"), Checks("x"), ReadLog("x")):
        await dispatch.answer(s, ask)
asyncio.run(work())
print(sorted({"torch", "transformers", "trl", "peft", "datasets", "textual", "pyarrow"} & set(sys.modules)))
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "[]"
