"""Training in this process: the libraries are imported once for all objectives."""

import pytest
import tiny_run

from finetop.core.runtime.home import Home

OWN = {
    "train": {"max_steps": 8, "learning_rate": 0.01, "schedule": "constant", "eval_every": 1.0,
              "save_every": 1.0},
    "samples": {"count": 1, "max_new_tokens": 4},
}  # fmt: skip


@pytest.fixture
def train(tmp_path, tiny_model):
    """Train a tiny model on rows: `train(rows, objective={…}, method={…}, train={…})`."""

    def run(rows, *, name="tiny", **sections):
        home = Home(tmp_path / "home")
        data = tiny_run.write_rows(tmp_path / f"{name}.jsonl", rows)
        recipe = tiny_run.recipe_of(tiny_model, data, OWN, sections)
        folder = home.root / "runs" / name
        return tiny_run.Trained(recipe, folder, *tiny_run.train(recipe, folder, home))

    return run


@pytest.fixture
def texts():
    return [{"text": f"{n}. {tiny_run.TEXT * 3}"} for n in range(12)]


@pytest.fixture
def pairs():
    return [
        {"prompt": f"What is {n}?", "chosen": f"It is {n * n}.", "rejected": "Lamps and clocks."}
        for n in range(24)
    ]
