"""Shared by all rooms and features: commands as typed, a home, an event log, an empty database, llama.cpp."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig import REAL, Rig

from finetop.core.commands.main import main
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home, prepare

if TYPE_CHECKING:
    from finetop.core.models.llama_cpp.model import Process

SETTINGS = "settings: 1\nretry: {times: 1, wait_s: 0}\nslots: {cpu_jobs: 8}\n"
SUITE = "suite: 1\nname: mini\ntasks: [{name: sums, data: sums.jsonl, chance: 0.0, metric: acc}]\n"


@pytest.fixture
def command(capfd):
    """Return a function that runs one command: (exit code, stdout, stderr)."""

    def run(*arguments):
        code = main(list(arguments))
        return (code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def shared_rig(tmp_path_factory):
    """A home with the real supervisor on fake jobs, for a file whose tests do not mind each other's runs."""
    rig = Rig(Home(tmp_path_factory.mktemp("shared") / "home"))
    rig.up()
    yield rig
    rig.stop_all()


@pytest.fixture(scope="module")
def station(request, tmp_path_factory, warm_program):
    """A home with the real supervisor and real jobs, for the tests of one file, which may have its own SETTINGS."""
    settings = getattr(request.module, "SETTINGS", SETTINGS)
    rig = Rig(Home(tmp_path_factory.mktemp("station") / "home"), settings=settings, program=REAL)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("HF_HUB_OFFLINE", "1"), ("OMP_NUM_THREADS", "1"), ("CUDA_VISIBLE_DEVICES", "")):
            patch.setenv(name, value)
        rig.up(FINETOP_TEST_PYTHON=warm_program)
        yield rig
    rig.stop_all()


@pytest.fixture
def suite(tmp_path):
    """A suite of 60 sums in the test's folder, as it is named there."""
    rows = [
        {"id": f"n{at}", "question": f"What is {at} and {at + 1}?", "answer": at % 3,
         "choices": [str(2 * at + 1), str(at), "none of these numbers"]}
        for at in range(60)
    ]  # fmt: skip
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mini.yaml").write_text(SUITE)
    return "./mini.yaml"


@pytest.fixture
def finetop_of(command, monkeypatch):
    """Return a function that makes commands run on a home."""

    def of(home):
        monkeypatch.setenv("FINETOP_HOME", str(home.root))
        return command

    return of


@pytest.fixture
def finetop(rig, finetop_of):
    """Run one command on the rig's home."""
    return finetop_of(rig.home)


@pytest.fixture
def full(tiny_model: Path, tmp_path: Path) -> Path:
    """Return a full model's folder."""
    return Path(shutil.copytree(tiny_model, tmp_path / "full"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    prepare(made)
    return made


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "events.jsonl")
    yield log
    log.close()


@pytest.fixture(scope="module")
def llama() -> Iterator[Process]:
    """Start one process of llama.cpp for all tests of a file; without it they skip."""
    if find_spec("llama_cpp_py_sync") is None:
        pytest.skip("llama.cpp is not installed: finetop[gguf]")
    from finetop.core.models.llama_cpp.model import started

    with started() as process:
        yield process


@pytest.fixture
def connection(tmp_path):
    """An empty store, copied: its migrations take longer than most tests."""
    file = tmp_path / "finetop.duckdb"
    from store_rows import empty_database

    from finetop.core.store.database import open_store

    file.write_bytes(empty_database())
    store = open_store(file)
    yield store
    store.close()
