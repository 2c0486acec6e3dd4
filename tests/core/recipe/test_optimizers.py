"""A row of the table of optimizers is all that the recipe, the plan and the trainer need of one."""

import subprocess
import sys

ADDED = """
from pathlib import Path
from finetop.core.recipe import optimizers
optimizers.OPTIMIZERS["lion"] = optimizers.Optimizer("lion_32bit", "lion_32bit", 1.0)
from finetop.core.recipe.load import resolve_text
from finetop.core.recipe.master import held_in, optimizer_bytes
from finetop.core.train import trainer_args
text = "recipe: 1\\nname: a\\nmethod: {name: full}\\nobjective: {name: sft}\\ntrain: {optimizer: lion}\\n"
recipe = resolve_text(text).recipe
print(optimizer_bytes(recipe.train, 4.0), held_in(recipe.train, 2.0, 1e9, 0.0, 1e9))
print(trainer_args.common(recipe, "bfloat16", "cpu", Path("."))["optim"])
"""


def test_an_added_row_is_accepted_planned_and_built():
    told = subprocess.run([sys.executable, "-c", ADDED], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["4.0", "nearest", "lion_32bit"]
