"""Weights & Biases' file of a run: LevelDB's blocks, wandb's records."""

import math
from pathlib import Path

import pytest
from metric_files import BLOCK, history, leveldb, message, opened, read

from finetop.core.external.sources import Places, load, wandb


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "wandb" / "offline-run-20260101_000000-abc" / "run-abc.wandb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_values_and_their_steps(tmp_path: Path) -> None:
    data = leveldb(
        message((1, b"header")),
        history(0, loss=1.5, _step=0, _timestamp=1.8e9, _runtime=3.0),
        message((7, message((1, "system"), (2, "memory")))),  # statistics of the system
        history(1, **{"train/loss": 1.0, "train/global_step": 20, "_timestamp": 1.8e9 + 1}),
        history(2, nested__a=1, text="x", flag=True, list=[1, 2]),
        history(3, loss="NaN", up="Infinity", text="7"),
    )
    points = opened("wandb", written(tmp_path, data)).read()
    assert [(point.step, point.values) for point in points[:3]] == [
        (0, {"loss": 1.5}),
        (20, {"train/loss": 1.0}),
        (2, {"nested/a": 1.0}),
    ]
    assert [point.at for point in points] == [1.8e9, 1.8e9 + 1, 0.0, 0.0]
    assert math.isnan(points[3].values["loss"])
    assert points[3].values["up"] == math.inf
    assert set(points[3].values) == {"loss", "up"}


def test_the_trainers_summary_is_no_step(tmp_path: Path) -> None:
    data = leveldb(
        history(1, **{"train/train_runtime": 3.0, "train/train_loss": 1.0, "train/global_step": 20})
    )
    assert read(opened("wandb", written(tmp_path, data))) == []


@pytest.mark.parametrize("filling", [*range(BLOCK - 120, BLOCK - 20), 2 * BLOCK, 5 * BLOCK + 7])
def test_records_over_the_border_of_a_block(tmp_path: Path, filling: int) -> None:
    """Every distance from the border: padding, a header at the very end, a piece without a byte."""
    data = leveldb(message((1, b"x" * filling)), *(history(step, loss=1.0) for step in range(1, 6)))
    assert [step for step, _ in read(opened("wandb", written(tmp_path, data)))] == [1, 2, 3, 4, 5]


def test_it_is_read_as_it_grows(tmp_path: Path) -> None:
    data = leveldb(*(history(step, loss=1.0, text="x" * 1000) for step in range(80)))
    reader, steps = opened("wandb", written(tmp_path, b"")), []
    for end in (*range(40), *range(40, len(data), 997), len(data)):
        written(tmp_path, data[:end])
        steps += [step for step, _ in read(reader)]
    assert steps == list(range(80))


def test_large_files_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "MOST_BYTES", 2 * BLOCK)
    reader = opened("wandb", written(tmp_path, leveldb(*(history(n, a=1, b="x" * 1000) for n in range(200)))))
    assert 0 < len(reader.read()) < 100
    assert reader.behind
    reader = opened("wandb", reader.path)
    assert len(read(reader)) == 200


def test_after_damage_the_next_block_is_read(tmp_path: Path) -> None:
    data = bytearray(leveldb(*(history(step, loss=1.0, text="x" * 1000) for step in range(100))))
    data[5000:6000] = bytes(1000)
    steps = [step for step, _ in read(opened("wandb", written(tmp_path, bytes(data))))]
    assert steps[0] == 0
    assert steps[-1] == 99
    assert len(steps) > 60


@pytest.mark.parametrize(
    "data", [b"", b":W&B", b"nothing of wandb's" * 10, b":W&B\xe1\xbe\x00" + b"\xff" * 50000]
)
def test_files_that_are_none(tmp_path: Path, data: bytes) -> None:
    assert read(opened("wandb", written(tmp_path, data))) == []


def test_records_that_can_not_be_read_are_left_out(tmp_path: Path) -> None:
    bad = message((2, message((1, message((1, "loss"), (16, "{"))))))
    data = leveldb(bad, b"\xff" * 20, message((2, 5)), history(4, loss=1.0))
    assert read(opened("wandb", written(tmp_path, data))) == [(4, {"loss": 1.0})]


def test_files_are_found_in_the_folder_that_wandb_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, leveldb())
    (tmp_path / "wandb" / "latest-run").symlink_to(path.parent)
    own = tmp_path / "own"
    own.mkdir()
    find = load("wandb").find
    assert list(find(Places((tmp_path,)))) == [path]
    assert list(find(Places((own,)))) == []
    assert list(find(Places((own,), environment={"WANDB_DIR": str(tmp_path)}))) == [path]
