"""What loading a recipe must not import."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "numpy", "textual", "duckdb"}
CODE = """
import sys
import finetop.core.data.files
from finetop.core.recipe.fields import fields
from finetop.core.recipe.load import load_recipe
load_recipe("lora")
fields("full")
print(*sys.modules)
"""


def test_nothing_heavy_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "finetop.core.train.methods.lora" in loaded
    assert not loaded & HEAVY
