"""Builds and loads the native half of the pretended GPU (pretended_gpu.cpp), which must come before torch."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

SOURCE = Path(__file__).with_name("pretended_gpu.cpp")
LIBRARY = "FINETOP_PRETENDED_GPU"  # in the environment: path of the built library


def why_not() -> str:
    """Return why the native half can't be built here; empty if it can."""
    return "" if shutil.which("g++") else "no C++ compiler (g++) to build the pretended GPU with"


def build(folder: Path) -> Path:
    """Compile for the installed torch, once per folder, and return the library. Raises CalledProcessError."""
    mark = hashlib.sha256(SOURCE.read_bytes() + version("torch").encode()).hexdigest()[:12]
    library = folder / f"pretended-gpu-{mark}.so"
    if not library.is_file():
        include = torch_folder() / "include"
        aside = library.with_suffix(f".{os.getpid()}")
        options = ["-shared", "-fPIC", "-O0", "-std=c++20", "-w"]
        places = [f"-I{include}", f"-I{include / 'torch/csrc/api/include'}"]
        subprocess.run(["g++", *options, *places, str(SOURCE), "-o", str(aside)], check=True)
        aside.replace(library)
    return library


def torch_folder() -> Path:
    """Return the folder of the installed torch without importing it. Raises ModuleNotFoundError."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torch")
    return Path(spec.origin).parent


def load() -> None:
    """Load the library that the environment names, after torch's own CPU library, and import torch."""
    ctypes.CDLL(str(torch_folder() / "lib" / "libtorch_cpu.so"), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(os.environ[LIBRARY], ctypes.RTLD_GLOBAL)
    import torch  # noqa: F401

    library.take_place()
