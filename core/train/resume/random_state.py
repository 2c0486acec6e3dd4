"""Random numbers of Python, numpy and torch: seed, read and restore their states."""

from __future__ import annotations

import random
from typing import Any

import numpy
import torch


def seed(number: int) -> None:
    """Seed all generators."""
    random.seed(number)
    numpy.random.seed(number)
    torch.manual_seed(number)


def now() -> dict[str, Any]:
    """Return the state of all generators, as a tree that core/train/resume/state_files.py can save."""
    kind, keys, *rest = numpy.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(numpy.asarray(keys, "int64")), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def put_back(state: dict[str, Any]) -> None:
    """Restore the state of all generators. States of more GPUs than are visible are ignored."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    numpy.random.set_state((kind, keys.numpy().astype("uint32"), *rest))
    torch.set_rng_state(state["torch"])
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index, gpu_state in enumerate(state["cuda"][:count]):
        torch.cuda.set_rng_state(gpu_state, index)
