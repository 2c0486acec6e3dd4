"""A tiny base model for every method, unquantized and quantized."""

from dataclasses import replace

import pytest
from method_bench import Bench, base_of

from finetop.core.train.methods import _start


@pytest.fixture(scope="session")
def bench(tiny_model):
    return Bench(base_of(tiny_model))


@pytest.fixture(scope="session")
def benches(bench):
    return {kind: Bench(replace(bench.base, quantize=kind)) for kind in _start.ALL_FORMATS}
