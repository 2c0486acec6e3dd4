"""What the light install lacks is named by what needs it; an import that fails for another reason is not."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from finetop.core.errors import EnvironmentTrouble
from finetop.core.runtime import failures, parts

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


def test_every_package_of_the_extras_is_named():
    extras = PROJECT["optional-dependencies"]
    lines = [*extras["train"], *(line for line in extras["gguf"] if not line.startswith("finetop"))]
    names = {re.match(r"[\w-]+", line)[0].replace("-", "_") for line in lines}
    assert names <= parts.NEEDED_BY.keys()
    light = {re.match(r"[\w-]+", line)[0].replace("-", "_") for line in PROJECT["dependencies"]}
    assert not light & parts.NEEDED_BY.keys()


def test_a_missing_package_is_one_line_and_a_missing_module_of_one_that_is_there_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(EnvironmentTrouble) as raised, parts.explain_missing():
        import trl  # noqa: F401
    assert str(raised.value) == "training needs finetop[train]: pip install 'finetop[train]'"
    with pytest.raises(EnvironmentTrouble, match="training needs"):
        parts.require("trl")
    monkeypatch.setitem(sys.modules, "llama_cpp_py_sync", None)
    with pytest.raises(
        EnvironmentTrouble, match=r"GGUF file needs finetop\[gguf\]: pip install 'finetop\[gguf\]'"
    ):
        parts.require("llama_cpp_py_sync")
    parts.require("duckdb")
    with pytest.raises(ModuleNotFoundError), parts.explain_missing():
        import duckdb.no_such_part  # noqa: F401
    with pytest.raises(ModuleNotFoundError), parts.explain_missing():
        import no_such_package  # noqa: F401


def test_a_job_that_lacks_a_package_ends_as_the_environments_fault(monkeypatch):
    ended = failures.ended(ModuleNotFoundError("No module named 'trl'", name="trl"))
    assert (ended.kind, ended.exit_code) == ("code", 1)  # it is there: another reason
    monkeypatch.setitem(sys.modules, "trl", None)
    ended = failures.ended(ModuleNotFoundError("No module named 'trl'", name="trl"))
    assert (ended.cause, ended.kind, ended.exit_code) == (
        "training needs finetop[train]: pip install 'finetop[train]'", "environment", 4
    )  # fmt: skip


def test_the_version_without_metadata(monkeypatch):
    assert parts.own_version() == metadata.version("finetop")

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert parts.own_version() == "from source"
