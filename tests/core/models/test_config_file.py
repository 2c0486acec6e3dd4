"""What may be in place of a model's config.json: nothing that hangs or fills memory gets through."""

from __future__ import annotations

import json
import os

import pytest

from finetop.core.data.weight_files import weight_files
from finetop.core.errors import BadInput
from finetop.core.models import config_file, safetensors_header
from finetop.core.models.load_checkpoint import _require_sizes


@pytest.mark.parametrize("kind", ["pipe", "device", "large", "list", "deep"])
def test_what_is_no_config_is_refused_at_once(kind, tmp_path):
    file = tmp_path / "config.json"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "large":
        with file.open("wb") as opened:
            opened.truncate(config_file.LARGEST_FILE + 1)
    else:
        file.write_text({"list": "[1]", "deep": "[" * 100_000}[kind])
    with pytest.raises(BadInput, match=r"config\.json"):
        config_file.read(file)


@pytest.mark.parametrize("key", ["num_hidden_layers", "vocab_size", "num_experts", "n_embd"])
def test_sizes_that_no_model_has_are_refused(key, tmp_path):
    file = tmp_path / "config.json"
    for config in ({key: 10**9}, {"text_config": {key: 1e300}}, {key: -1}):
        file.write_text(json.dumps(config))
        with pytest.raises(BadInput, match=f"{key} is "):
            config_file.read(file)


def test_weights_are_regular_files(tmp_path):
    file = tmp_path / "model.safetensors"
    for make in (lambda: os.mkfifo(file), lambda: file.symlink_to("/dev/zero")):
        make()
        with pytest.raises(BadInput, match="is not a regular file"):
            weight_files(tmp_path)
        file.unlink()


def test_tensors_are_counted_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors_header, "MOST_TENSORS", 100)
    entries = {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(101)}
    header = json.dumps(entries).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(BadInput, match="more than 100 tensors"):
        safetensors_header.tensors(tmp_path)


@pytest.mark.parametrize("settings", [{"r": 10**9}, {"r": 4, "rank_pattern": {"q_proj": 10**9}}])
def test_an_adapter_is_no_wider_than_its_tensors(settings, tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + bytes(128)
    (tmp_path / "adapter_model.safetensors").write_bytes(whole)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **settings}))
    with pytest.raises(BadInput, match="is 1,000,000,000, and no tensor"):
        _require_sizes(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4}))
    _require_sizes(tmp_path)
