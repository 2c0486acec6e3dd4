"""Weights & Biases' file of a run: LevelDB's blocks, wandb's records."""

import math
from pathlib import Path

import pytest
from metric_bytes import BLOCK
from metric_files import found, history, leveldb, message, opened, put, read, steps

from finetop.core.external.sources import Reader, wandb


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wandb" / "offline-run-20260101_000000-abc" / "run-abc.wandb"


def reader_of(path: Path, *records: bytes) -> Reader:
    return opened("wandb", put(path, leveldb(*records)))


def test_values_and_their_steps(path):
    points = reader_of(
        path,
        message((1, b"header")),
        history(0, loss=1.5, _step=0, _timestamp=1.8e9, _runtime=3.0),
        message((7, message((1, "system"), (2, "memory")))),  # statistics of the system
        history(1, **{"train/loss": 1.0, "train/global_step": 20, "_timestamp": 1.8e9 + 1}),
        history(2, nested__a=1, text="x", flag=True, list=[1, 2]),
        history(3, loss="NaN", up="Infinity", text="7"),
    ).read()
    assert [(point.step, point.values) for point in points[:3]] == [
        (0, {"loss": 1.5}),
        (20, {"train/loss": 1.0}),
        (2, {"nested/a": 1.0}),
    ]
    assert [point.at for point in points] == [1.8e9, 1.8e9 + 1, 0.0, 0.0]
    assert math.isnan(points[3].values["loss"])
    assert points[3].values["up"] == math.inf
    assert set(points[3].values) == {"loss", "up"}
    summary = {"train/train_runtime": 3.0, "train/train_loss": 1.0, "train/global_step": 20}
    assert read(reader_of(path, history(1, **summary))) == []  # the Trainer's, of the whole run


def test_records_over_the_border_of_a_block(path):
    """Every distance from the border: padding, a header at the very end, a piece without a byte."""
    records = [history(step, loss=1.0) for step in range(1, 6)]
    for filling in (*range(BLOCK - 120, BLOCK - 20), 2 * BLOCK, 5 * BLOCK + 7):
        assert steps(reader_of(path, message((1, b"x" * filling)), *records)) == [1, 2, 3, 4, 5], filling


def test_it_is_read_as_it_grows(path):
    data = leveldb(*(history(step, loss=1.0, text="x" * 1000) for step in range(80)))
    reader, seen = opened("wandb", put(path, b"")), []
    for end in (*range(40), *range(40, len(data), 997), len(data)):
        put(path, data[:end])
        seen += steps(reader)
    assert seen == list(range(80))


def test_large_files_are_read_in_parts(path, monkeypatch):
    monkeypatch.setattr(wandb, "MOST_BYTES", 2 * BLOCK)
    reader = reader_of(path, *(history(n, a=1, b="x" * 1000) for n in range(200)))
    assert 0 < len(reader.read()) < 100
    assert reader.behind
    assert len(read(opened("wandb", path))) == 200


def test_what_can_not_be_read_is_left_out(path):
    data = bytearray(leveldb(*(history(step, loss=1.0, text="x" * 1000) for step in range(100))))
    data[5000:6000] = bytes(1000)
    seen = steps(opened("wandb", put(path, bytes(data))))
    assert (seen[0], seen[-1]) == (0, 99) and len(seen) > 60  # after damage the next block is read
    bad = message((2, message((1, message((1, "loss"), (16, "{"))))))
    assert read(reader_of(path, bad, b"\xff" * 20, message((2, 5)), history(4, loss=1.0))) == [
        (4, {"loss": 1.0})
    ]
    for none in (b"", b":W&B", b"nothing of wandb's" * 10, b":W&B\xe1\xbe\x00" + b"\xff" * 50000):
        assert read(opened("wandb", put(path, none))) == []


def test_files_are_found_in_the_folder_that_wandb_is_told(path, tmp_path):
    put(path, leveldb())
    (tmp_path / "wandb" / "latest-run").symlink_to(path.parent)
    own = tmp_path / "own"
    own.mkdir()
    assert found("wandb", tmp_path) == [path]
    assert found("wandb", own) == []
    assert found("wandb", own, environment={"WANDB_DIR": str(tmp_path)}) == [path]
