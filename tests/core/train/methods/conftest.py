"""A tiny base model for every method, unquantized and quantized."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from method_bench import Bench, base_of

from finetop.core.train.methods import _start


@pytest.fixture(scope="session")
def bench(tiny_model: Path) -> Bench:
    return Bench(base_of(tiny_model))


@pytest.fixture(scope="session")
def benches(bench: Bench) -> dict[str, Bench]:
    return {kind: Bench(replace(bench.base, quantize=kind)) for kind in _start.ALL_FORMATS}
