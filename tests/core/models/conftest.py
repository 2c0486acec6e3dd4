"""Shared fixtures of the model tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from finetop.core.models.llama_cpp.model import Process, started
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home, prepare


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
    with started() as process:
        yield process
