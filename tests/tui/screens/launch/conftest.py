"""Shared by the tests of Launch: a folder with rows and recipes, and an app with a home of its own in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tui_fakes import ROW, FakeSupervisor, make_app

from finetop.core.runtime.home import Home, prepare
from finetop.tui.app import FinetopApp


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with 40 rows in faq.jsonl, and mine.yaml, a recipe that trains on them."""
    (tmp_path / "faq.jsonl").write_text(ROW * 40)
    (tmp_path / "mine.yaml").write_text("recipe: 1\nextends: full\ndata: {train: [{path: faq.jsonl}]}\n")
    return tmp_path


@pytest.fixture
def fake() -> FakeSupervisor:
    return FakeSupervisor([])


@pytest.fixture
def app_at_home(folder: Path, fake: FakeSupervisor) -> FinetopApp:
    """The app with a real home, which plans and lints need; it begins in the folder."""
    home = Home(folder / "home")
    prepare(home)
    return make_app(fake, folder, start=lambda home: None, home=home)
