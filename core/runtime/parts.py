"""What is installed: the light install leaves out the extras, and one line says so where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from finetop.core.errors import EnvironmentTrouble

INSTALL: Final = "pip install 'finetop[train]'"
TRAINING: Final = "training"
GGUF: Final = "running or writing a GGUF file"
# What needs each package of the extras, by the name that is imported; some come with others of them.
NEEDED_BY: Final = {
    **dict.fromkeys(
        ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "safetensors"), TRAINING
    ),
    "duckdb": "keeping runs on this machine",
    "datasets": "reading data sets of the hub",
    "huggingface_hub": "looking up models on the hub",
    "tokenizers": "counting a model's tokens",
    "jinja2": "a model's chat template",
    "pyarrow": "reading Parquet",
    "lm_eval": "scoring a suite",
    "scipy": "selecting by diversity",
    "bm25s": "retrieval by BM25",
    **dict.fromkeys(("gguf", "llama_cpp_py_sync", "cffi"), GGUF),
}


def require(package: str) -> None:
    """Raise EnvironmentTrouble if a package of an extra is not installed. It is not imported."""
    if find_spec(package) is None:
        raise _trouble(package)


@contextmanager
def explain_missing() -> Iterator[None]:
    """Turn the failed import of a package of an extra into EnvironmentTrouble."""
    try:
        yield
    except ModuleNotFoundError as error:
        if trouble := of_error(error):
            raise trouble from error
        raise


def of_error(error: BaseException) -> EnvironmentTrouble | None:
    """Return why an import failed, if it is of a package of an extra, and that is not installed at all."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return _trouble(name) if name in NEEDED_BY and find_spec(name) is None else None


def _trouble(package: str) -> EnvironmentTrouble:
    extra = "gguf" if NEEDED_BY[package] == GGUF else "train"
    return EnvironmentTrouble(f"{NEEDED_BY[package]} needs finetop[{extra}]: pip install 'finetop[{extra}]'")


def own_version() -> str:
    """Return finetop's version; 'from source' if it is on the path without being installed."""
    from importlib import metadata

    try:
        return metadata.version("finetop")
    except metadata.PackageNotFoundError:
        return "from source"
