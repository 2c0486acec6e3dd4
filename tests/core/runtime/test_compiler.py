"""What Triton needs on this machine, and the messages about missing parts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from finetop.core.runtime import compiler, job_process

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK = compiler.missing
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CC", raising=False)
    LOOK.cache_clear()
    yield
    LOOK.cache_clear()


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Simulate a machine whose programs and headers are in one folder."""
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiler, "include_folder", lambda: tmp_path)
    monkeypatch.setattr(compiler, "find_spec", lambda _: True)
    return tmp_path


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_nothing_is_missing_where_a_compiler_reads_the_headers(machine: Path, name: str) -> None:
    program(machine / name, f'test "$5" = {machine} && read first && test "$first" = "#include <stdlib.h>"')
    assert compiler.missing() == ()


def test_all_that_is_missing_is_named_with_what_installs_it(machine: Path) -> None:
    program(machine / "cc", "exit 0")  # a name that Triton does not look for
    assert compiler.missing() == ("a C compiler",)
    assert f"python{VERSION}-dev" not in compiler.fix()
    (machine / "Python.h").unlink()
    compiler.missing.cache_clear()
    assert compiler.missing() == ("a C compiler", f"Python.h of Python {VERSION}")
    assert f"apt install gcc libc6-dev python{VERSION}-dev" in compiler.fix()


def test_a_compiler_without_its_c_library_is_of_no_use(machine: Path) -> None:
    program(machine / "gcc", "echo stdlib.h: No such file or directory >&2; exit 1")
    assert compiler.missing() == ("the headers of the C library",)


def test_cc_names_the_compiler_alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(machine / "gcc", "exit 0")
    monkeypatch.setenv("CC", "ccache gcc")  # Triton takes it for the name of one program
    assert compiler.missing() == ("a C compiler",)
    compiler.missing.cache_clear()
    monkeypatch.setenv("CC", str(program(machine / "my-own", "exit 0")))
    assert compiler.missing() == ()


def test_headers_are_looked_for_where_triton_looks() -> None:
    """In the base Python's folder, whose name is in no virtual environment."""
    assert compiler.include_folder().name == f"python{VERSION}"
    assert str(compiler.include_folder()).startswith(sys.base_prefix)


def test_what_triton_lacks_may_be_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "missing", lambda: ("a C compiler", "Python.h of Python 3.12"))
    monkeypatch.setattr(compiler, "find_spec", lambda _: None)
    assert compiler.triton_lacks() == "Triton"
    assert compiler.fix() == "Install it (pip install triton)."
    monkeypatch.setattr(compiler, "find_spec", lambda _: True)
    assert compiler.triton_lacks() == "a C compiler and Python.h of Python 3.12"
    assert compiler.without_triton("a C compiler").startswith("this machine lacks a C compiler: losses are")


@pytest.mark.parametrize(("missing", "switch"), [(("a C compiler",), "1"), ((), None)])
def test_torch_takes_no_triton_for_its_products_where_none_can_be_built(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], switch: str | None
) -> None:
    monkeypatch.setattr(compiler, "missing", lambda: missing)
    monkeypatch.setattr(job_process, "find_spec", lambda _: True)
    monkeypatch.setattr(os, "environ", {})
    job_process.set_environment()
    assert os.environ.get("TORCH_DISABLE_NATIVE_JIT") == switch
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_torch_reads_the_switch() -> None:
    """Triton's own messages, which are not documented."""
    torch = pytest.importorskip("torch")
    file = Path(torch.__file__).parent / "_native/common_utils.py"
    assert not file.exists() or 'getenv("TORCH_DISABLE_NATIVE_JIT"' in file.read_text(encoding="utf-8")
