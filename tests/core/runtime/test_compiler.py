"""What Triton needs on this machine, and the messages about missing parts."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from finetop.core.runtime import compiler, job_process

LOOK = compiler.missing
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def anew(monkeypatch):
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


def missing() -> tuple[str, ...]:
    LOOK.cache_clear()
    return compiler.missing()


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_nothing_is_missing_where_a_compiler_reads_the_headers(machine: Path, name: str):
    program(machine / name, f'test "$5" = {machine} && read first && test "$first" = "#include <stdlib.h>"')
    assert missing() == ()
    program(machine / name, "echo stdlib.h: No such file or directory >&2; exit 1")
    assert missing() == ("the headers of the C library",)


def test_all_that_is_missing_is_named_with_what_installs_it(machine: Path) -> None:
    program(machine / "cc", "exit 0")  # a name that Triton does not look for
    assert missing() == ("a C compiler",)
    assert f"python{VERSION}-dev" not in compiler.fix()
    (machine / "Python.h").unlink()
    assert missing() == ("a C compiler", f"Python.h of Python {VERSION}")
    assert f"apt install gcc libc6-dev python{VERSION}-dev" in compiler.fix()


def test_cc_names_the_compiler_alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(machine / "gcc", "exit 0")
    monkeypatch.setenv("CC", "ccache gcc")  # Triton takes it for the name of one program
    assert missing() == ("a C compiler",)
    monkeypatch.setenv("CC", str(program(machine / "my-own", "exit 0")))
    assert missing() == ()


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


def test_torch_takes_no_triton_for_its_products_where_none_can_be_built(monkeypatch) -> None:
    monkeypatch.setattr(job_process, "find_spec", lambda _: True)
    for parts, switch in ((("a C compiler",), "1"), ((), None)):
        monkeypatch.setattr(compiler, "missing", lambda parts=parts: parts)
        monkeypatch.setattr(os, "environ", {})
        job_process.set_environment()
        assert os.environ.get("TORCH_DISABLE_NATIVE_JIT") == switch
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    # torch reads the switch; Triton's own messages are not documented
    if torch := find_spec("torch"):
        file = Path(torch.origin).parent / "_native/common_utils.py"
        assert not file.exists() or 'getenv("TORCH_DISABLE_NATIVE_JIT"' in file.read_text(encoding="utf-8")
