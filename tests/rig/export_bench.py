"""Checkpoints that are exported: of a recipe's method on the tiny model, with disturbed weights."""

from __future__ import annotations

import json

import torch
from method_bench import disturb

from finetop.core.features.export import export
from finetop.core.models import checkpoint, load, resolve
from finetop.core.recipe.load import resolve_text
from finetop.core.train import methods
from finetop.core.train.methods import _start


def recipe_of(tiny_model, **sections):
    model = {"id": str(tiny_model), "dtype": "float32"} | sections.pop("model", {})
    settings = {"model": model, "method": {"name": "lora"}, **sections}
    whole = {"recipe": 1, "name": "tiny", "objective": {"name": "sft"}, **settings}
    return resolve_text(json.dumps(whole)).recipe


def make_checkpoint(tmp_path, recipe, home, events):
    """Write a checkpoint of the recipe's method with disturbed weights, at a step of a run."""
    base = resolve.resolve_model(recipe.model, home, events)
    model, tokenizer = load.load_model(base, torch.float32, "cpu")
    torch.manual_seed(0)  # else it is what the tests before it left
    model = methods.load(recipe.method.name).prepare(model, recipe.method.options, _start.Start())
    disturb(model)
    return checkpoint.write(model, tokenizer, base, tmp_path / "run", 7, events)


def wanted_of(tmp_path, recipe, folder, dtype="auto"):
    return export.ExportRequest(recipe, "tiny", 7, folder, tmp_path / "out", dtype, "cpu")
