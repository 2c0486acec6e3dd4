"""trainer_state.json of a Hugging Face Trainer: rewritten with each checkpoint, half written, gone back."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from metric_files import found, opened, put, read, steps

from finetop.core.external.sources import Places, Reader, load


def entry(step: int, loss: float = 1.0) -> dict[str, float]:
    return {"epoch": step / 10, "loss": loss, "step": step}


def save(folder: Path, at: float, *entries: Any, name: str = "checkpoint-1", **more: Any) -> Path:
    path = put(folder / name / "trainer_state.json", json.dumps({"log_history": entries, **more}))
    os.utime(path, (at, at))
    return path


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return load("trainer_state").open(tmp_path, Places((tmp_path,)))


def test_each_checkpoint_adds_what_is_new_and_a_deleted_one_is_no_restart(tmp_path, reader):
    assert read(reader) == []
    save(tmp_path, 1, entry(1), entry(2), max_steps=20, num_train_epochs=3)
    assert read(reader) == [(1, {"epoch": 0.1, "loss": 1.0}), (2, {"epoch": 0.2, "loss": 1.0})]
    assert (reader.total, reader.epochs) == (20, 3.0)
    assert read(reader) == []
    evaluated = {"eval_loss": 0.5, "step": 2}
    newest = save(tmp_path, 2, entry(1), entry(2), evaluated, entry(3), name="checkpoint-2")
    assert steps(reader) == [2, 3]
    newest.unlink()
    assert read(reader) == []
    save(tmp_path, 3, entry(1), entry(2), evaluated, entry(3), entry(4), name="checkpoint-3")
    assert steps(reader) == [4]


def test_neither_the_summary_at_the_end_nor_what_is_not_planned_counts(tmp_path, reader):
    summary = {"train_runtime": 5.0, "train_loss": 1.0, "step": 1}
    save(tmp_path, 1, entry(1), summary, name=".", max_steps=-1, num_train_epochs=None)
    assert steps(reader) == [1]
    assert (reader.total, reader.epochs) == (0, 0.0)


def test_half_a_file_waits_for_its_rest(tmp_path, reader):
    path = save(tmp_path, 1, entry(1))
    text = path.read_text()
    for end in (0, 1, len(text) // 2, len(text) - 1):
        path.write_text(text[:end])
        assert read(reader) == []
    path.write_text(text)
    assert steps(reader) == [1]


def test_a_run_that_went_back_reports_its_new_steps_and_no_value_twice_that_is_not_finite(tmp_path, reader):
    nan = entry(2, float("nan"))
    save(tmp_path, 1, entry(1), nan, *(entry(step) for step in range(3, 6)))
    assert len(read(reader)) == 5
    save(tmp_path, 2, entry(1), nan, entry(3, 0.5), name="checkpoint-2")
    assert read(reader) == [(3, {"epoch": 0.3, "loss": 0.5})]


@pytest.mark.parametrize(
    "text", ["[]", "3", "{}", '{"log_history": 3}', '{"log_history": [1, {"loss": "x"}]}', "[" * 9999]
)
def test_files_of_another_shape(tmp_path, reader, text):
    (tmp_path / "trainer_state.json").write_text(text)
    assert read(reader) == []
    assert reader.total == 0


def test_states_of_an_earlier_run_are_not_found(tmp_path):
    path = save(tmp_path, 100, entry(1))
    assert found("trainer_state", tmp_path, since=101) == []
    assert found("trainer_state", tmp_path, since=99) == [tmp_path]
    assert steps(opened("trainer_state", path)) == [1]  # one that was named itself
