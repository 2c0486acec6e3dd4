"""Scores are found under their own key, and never under another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from finetop.core.check.scoring import cache
from finetop.core.data.weight_files import adapter_hash
from finetop.core.protocol.events import ItemScore
from finetop.core.runtime.home import Home

if TYPE_CHECKING:
    from pathlib import Path

MODEL: dict[str, Any] = {
    "weights": "w", "adapter": None, "tokenizer": "t", "template": "j", "dtype": "bfloat16", "device": "cpu",
    "scorer": 1, "torch": "2", "layout": "packed", "row_tokens": 512,
}  # fmt: skip
TASK: dict[str, Any] = {"name": "numbers", "settings": "s", "batches": "b"}
PROMPTS = {"a": "hash of a", "b": "hash of b"}
SCORES = [ItemScore("a", 1.0, "9", -0.5, -0.5, -2.0), ItemScore("b", 0.0)]


def filled(folder: Path) -> cache.ScoreKey:
    key = cache.score_key(MODEL, TASK)
    cache.append(folder, key, SCORES, PROMPTS)
    return key


def test_scores_come_back_as_they_were_and_under_no_other_key(tmp_path):
    key = filled(tmp_path)
    assert cache.read(tmp_path, key, PROMPTS) == {score.item: score for score in SCORES}
    assert [file.stem for file in tmp_path.iterdir()] == [key.name]
    others = [cache.score_key({**MODEL, fact: "another"}, TASK) for fact in MODEL]
    others += [cache.score_key(MODEL, {**TASK, fact: "another"}) for fact in TASK]
    for other in others:
        assert cache.read(tmp_path, other, PROMPTS) == {}
    assert list(cache.read(tmp_path, key, {**PROMPTS, "a": "another"})) == ["b"]  # a changed prompt
    # A file under a foreign name is not believed.
    (tmp_path / f"{key.name}.jsonl").rename(tmp_path / f"{others[1].name}.jsonl")
    assert cache.read(tmp_path, others[1], PROMPTS) == {}


@pytest.mark.parametrize("kept", [-1, -5, -40, 20])  # bytes: the last line is torn, or the header
def test_a_torn_line_is_left_aside_and_repaired(tmp_path, kept):
    key = filled(tmp_path)
    file = tmp_path / f"{key.name}.jsonl"
    file.write_bytes(file.read_bytes()[:kept])
    known = cache.read(tmp_path, key, PROMPTS)
    assert known.get("a") == (SCORES[0] if kept < 0 else None)
    assert kept < 0 or known == {}
    cache.append(tmp_path, key, SCORES[1:] if kept < 0 else SCORES, PROMPTS)
    assert cache.read(tmp_path, key, PROMPTS) == {score.item: score for score in SCORES}


def test_adapter_hash_follows_weights_and_scale(tmp_path):
    home = Home(tmp_path / "home")
    (tmp_path / "adapter_config.json").write_text('{"r": 8, "lora_alpha": 16}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    before = adapter_hash(tmp_path, home)
    (tmp_path / "adapter_config.json").write_text('{"r": 8, "lora_alpha": 32}')
    scaled = adapter_hash(tmp_path, home)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"other weights")
    assert len({before, scaled, adapter_hash(tmp_path, home)}) == 3
