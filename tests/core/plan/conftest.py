"""Machines and configs for plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetop.core.plan.machine import Machine
from finetop.core.runtime.home import Home, prepare


@pytest.fixture
def llama_8b() -> dict[str, Any]:
    return {
        "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
        "tie_word_embeddings": False, "max_position_embeddings": 8192, "torch_dtype": "bfloat16",
    }  # fmt: skip


@pytest.fixture
def card() -> Machine:
    """Return a GPU of 24 GiB."""
    return Machine("gpu", "NVIDIA L4", 24 * 2**30, gpus=1, flops=121e12, free_disk=100e9)


@pytest.fixture
def cores() -> Machine:
    """Return a CPU without 16-bit arithmetic."""
    return Machine("cpu", "2 CPU cores", 16 * 2**30, has_bfloat16=False, flops=150e9, free_disk=100e9)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    prepare(made)
    return made
