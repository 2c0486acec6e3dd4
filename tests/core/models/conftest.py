"""Shared fixtures of the model tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

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
