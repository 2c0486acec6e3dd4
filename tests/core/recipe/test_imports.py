"""What loading a recipe costs and must not import."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "numpy", "textual", "duckdb")


def run(code: str, cache: Path) -> str:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache), "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = """
import sys
import finetop.core.data.files
from finetop.core.recipe.fields import fields
from finetop.core.recipe.load import load_recipe
load_recipe("lora")
fields("full")
print(*sys.modules)
"""
    loaded = set(run(code, tmp_path).split())
    assert "finetop.core.train.methods.lora" in loaded
    assert not loaded & set(HEAVY)
