"""A tiny base model for every method, unquantized and quantized."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from method_bench import Bench

from finetop.core.models.resolved import ResolvedModel
from finetop.core.train.methods import _start

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def bench(tiny_model: Path) -> Bench:
    return Bench(ResolvedModel("tiny", tiny_model, None, None, "made here", "0" * 64))


@pytest.fixture(scope="session")
def benches(bench: Bench) -> dict[str, Bench]:
    return {kind: Bench(replace(bench.base, quantize=kind)) for kind in _start.ALL_FORMATS}
