"""One process of llama.cpp for all tests of a file; without it they skip."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from finetop.core.models.llama_cpp.model import Process, started


@pytest.fixture(scope="module")
def llama() -> Iterator[Process]:
    if find_spec("llama_cpp_py_sync") is None:
        pytest.skip("llama.cpp is not installed: finetop[gguf]")
    with started() as process:
        yield process
