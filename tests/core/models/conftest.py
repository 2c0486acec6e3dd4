"""Shared fixtures of the model tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def full(tiny_model: Path, tmp_path: Path) -> Path:
    """Return a full model's folder."""
    folder = tmp_path / "full"
    shutil.copytree(tiny_model, folder)
    return folder
