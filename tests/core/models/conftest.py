"""What tests of models share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def full(tiny_model: Path, tmp_path: Path) -> Path:
    """A full model's folder."""
    folder = tmp_path / "full"
    shutil.copytree(tiny_model, folder)
    return folder
