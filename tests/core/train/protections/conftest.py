"""A whole training run in this process, on a tiny model: what protections do in it."""

import shutil

import pytest
import tiny_run
from tiny_run import IN_SUITE, chat, write_rows, write_suite

from finetop.core.models import checkpoint
from finetop.core.protocol import events
from finetop.core.recipe.load import recipe_from_mapping, recipe_to_mapping
from finetop.core.runtime.home import Home
from finetop.core.train.resume.resume_point import ResumePoint

OWN = {
    "method": {"name": "full"},
    "data": {"eval": {"share": 0}},
    "train": {"max_steps": 3, "grad_accumulation": 2, "learning_rate": 5e-3, "warmup_steps": 0,
              "schedule": "constant"},
}  # fmt: skip


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    write_suite(home.root, 120)
    write_rows(tmp_path / "faq.jsonl", [chat(f"What is {n}?", f"{n * n}.") for n in range(1, 25)])
    return home


@pytest.fixture
def recipe_of(home, tiny_model):
    """Return a function that makes a recipe: full tuning of the tiny model, 3 steps at a high rate."""

    def make(protect=None, **sections):
        layers = (IN_SUITE, OWN, {"protect": protect or {}}, sections)
        recipe = tiny_run.recipe_of(tiny_model, home.root.parent / "faq.jsonl", *layers)
        assert recipe_from_mapping(recipe_to_mapping(recipe)) == recipe
        return recipe

    return make


@pytest.fixture
def train(home, recipe_of, capsys):
    """Return a function that trains, or resumes such a run from a step, and returns its events."""
    count = iter(range(1, 100))

    def run(protect=None, on_from=None, **sections):
        recipe = recipe_of(protect, **sections)
        folder = home.root / "runs" / f"{next(count):04}-tiny"
        point = None
        if on_from is not None:
            shutil.copytree(on_from[0].folder, folder)
            (folder / "events.jsonl").unlink()
            point = ResumePoint(on_from[1], checkpoint.folder_of(folder, on_from[1]), folder)
        capsys.readouterr()
        ended, told = tiny_run.train(recipe, folder, home, point=point)
        assert ended == events.Ended("finished")
        return tiny_run.Trained(recipe, folder, ended, told, capsys.readouterr().out)

    return run
