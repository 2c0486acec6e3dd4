"""A trainer's log becomes metrics under our names; entries without a step's values are left out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from finetop.core.errors import BadInput
from finetop.core.models.imports.job import History, read_history


def test_a_real_trainers_log(trainer_output: Path) -> None:
    history = read_history(trainer_output / "trainer_state.json")
    assert history.steps == 4
    values = dict(history.values)
    assert sorted(values) == [1, 2, 3, 4]
    assert set(values[1]) == {"loss", "grad_norm", "learning_rate", "epoch"}
    assert set(values[2]) == {"loss", "grad_norm", "learning_rate", "epoch", "eval_loss"}
    assert values[4]["loss"] < values[1]["loss"]
    assert values[4]["learning_rate"] == pytest.approx(0.0025)


def test_names_strange_lines_and_values_that_are_no_numbers(tmp_path: Path) -> None:
    file = tmp_path / "trainer_state.json"
    log = [
        {"step": 5, "loss": math.nan, "mean_token_accuracy": 0.5, "num_tokens": 100, "rewards/chosen": 1.0},
        {"step": 5, "eval_loss": 2.5, "eval_runtime": 3.0, "epoch": 0.5}, {"step": 6, "loss": "3.0"},
        {"step": 7, "train_loss": 1.0, "epoch": 1.0}, {"loss": 1.0}, {"step": -1, "loss": 1.0},
        {"step": True, "loss": 1.0}, "loss",
    ]  # fmt: skip
    file.write_text(json.dumps({"log_history": log, "max_steps": 9, "num_train_epochs": 3}))
    history = read_history(file)
    assert (history.steps, history.epochs) == (9, 3.0)
    ((step, values),) = history.values
    assert step == 5
    assert set(values) == {"loss", "token_accuracy", "tokens", "eval_loss", "epoch"}
    assert math.isnan(values["loss"])


def test_none_and_nonsense(tmp_path: Path) -> None:
    assert read_history(None) == History()
    file = tmp_path / "trainer_state.json"
    file.write_text("[]")
    with pytest.raises(BadInput, match="must be a mapping"):
        read_history(file)
    file.write_text(json.dumps({"log_history": {"loss": 1}}))
    assert read_history(file).values == ()
