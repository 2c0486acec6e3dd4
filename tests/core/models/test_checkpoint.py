"""A checkpoint exists completely or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from finetop.core.models import checkpoint
from finetop.core.models.resolved import ResolvedModel
from finetop.core.protocol.events import Checkpoint, decode

BASE = ResolvedModel("base", Path("base"), None, None, "local folder", "ab" * 32)


class FakeModel:
    """Saves bytes, or fails on the way."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def save_pretrained(self, folder: Path, **_: object) -> None:
        (folder / "model.safetensors").write_bytes(b"x" * 1000)
        (folder / "config.json").write_text("{}")
        if self.error is not None:
            raise self.error


class FakeTokenizer:
    def save_pretrained(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{}")


def write(tmp_path, events, step, model=None):
    return checkpoint.write(model or FakeModel(), FakeTokenizer(), BASE, tmp_path, step, events)


def test_a_checkpoint_has_a_manifest_and_an_event(tmp_path, events):
    folder = write(tmp_path, events, 120)
    assert folder.name == "step-000120" and checkpoint.is_complete(folder)
    assert write(tmp_path, events, 120) == folder  # it is written once
    (line,) = (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert decode(line).e == Checkpoint(120, "checkpoints/step-000120", 1004, "full")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", checkpoint.MANIFEST])
def test_a_checkpoint_with_a_short_or_missing_file_is_not_offered(tmp_path, events, name):
    write(tmp_path, events, 1)
    file = write(tmp_path, events, 2) / name
    for spoil in (lambda: file.write_bytes(file.read_bytes()[:-1]), file.unlink):
        spoil()
        assert [kept.name for kept in checkpoint.complete(tmp_path)] == ["step-000001"]


def test_a_full_disk_leaves_nothing_half_made(tmp_path, events):
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, events, 1, FakeModel(OSError(errno.ENOSPC, "No space left on device")))
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert (tmp_path / "events.jsonl").read_bytes() == b""


def test_the_newest_are_kept(tmp_path, events):
    for step in (5, 10, 15, 20):
        write(tmp_path, events, step)
        checkpoint.prune(tmp_path, 2)
    left = sorted(folder.name for folder in (tmp_path / "checkpoints").iterdir())
    assert left == ["step-000015", "step-000020"]
    checkpoint.prune(tmp_path, None)
    assert len(checkpoint.complete(tmp_path)) == 2


def test_leftovers_of_a_killed_process_go(tmp_path, events):
    write(tmp_path, events, 1)
    for name in (".step-000002.partial", ".step-000000.gone"):
        (tmp_path / "checkpoints" / name).mkdir()
        (tmp_path / "checkpoints" / name / "model.safetensors").write_bytes(b"half")
    assert len(checkpoint.complete(tmp_path)) == 1
    checkpoint.clear_leftovers(tmp_path)
    assert [folder.name for folder in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
