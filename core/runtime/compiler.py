"""Whether this machine has what Triton needs besides a GPU: a C compiler and Python's headers.

At its first kernel Triton compiles its own driver binding, with $CC or else gcc or clang, against Python.h. TRL's loss,
flex attention, liger's kernels, torch.compile and some of torch's own products (since 2.13) use Triton.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

COMPILERS = ("gcc", "clang")  # Triton's choices, in this order, if CC is not set
PATIENCE_S = 20.0
INCLUDED = "#include <stdlib.h>\n#include <Python.h>\n"


@lru_cache(maxsize=1)
def missing() -> tuple[str, ...]:
    """Return what Triton needs and this machine lacks, in words such as 'a C compiler'; empty if nothing."""
    compiler, headers = find_compiler(), include_folder()
    lacks = []
    if compiler is None:
        lacks.append("a C compiler")
    if not (headers / "Python.h").is_file():
        lacks.append(f"Python.h of Python {short_version()}")
    if not lacks and compiler is not None and not _reads(compiler, headers):
        lacks.append("the headers of the C library")
    return tuple(lacks)


def triton_lacks() -> str:
    """Return in words what keeps Triton from building kernels here, be it Triton itself; '' if nothing does."""
    return " and ".join(missing()) if find_spec("triton") is not None else "Triton"


def without_triton(lacks: str) -> str:
    """Return what a GPU run loses on a machine that lacks this, and how to fix it."""
    return f"this machine lacks {lacks}: losses are computed without Triton, which is slower. {fix()}"


def fix() -> str:
    """Return the command that installs all that is missing."""
    if find_spec("triton") is None:
        return "Install it (pip install triton)."
    version = short_version()
    has_headers = (include_folder() / "Python.h").is_file()
    debian, fedora = ("", "") if has_headers else (f" python{version}-dev", f" python{version}-devel")
    packages = f"apt install gcc libc6-dev{debian} (or dnf install gcc{fedora})"
    return f"Install them: {packages}; CC may name a compiler that is elsewhere."


def find_compiler() -> str | None:
    """Return the path of the compiler that Triton would use, or None."""
    named = os.environ.get("CC")
    names = COMPILERS if named is None else (named,)
    return next((path for name in names if (path := shutil.which(name))), None)


def include_folder() -> Path:
    """Return where Triton looks for Python.h: in a virtual environment, in the base Python's folder."""
    scheme = sysconfig.get_default_scheme()
    # Debian's scheme for /usr/local holds no headers
    return Path(sysconfig.get_paths("posix_prefix" if scheme == "posix_local" else scheme)["include"])


def short_version() -> str:
    """Return this Python's version as used in package names: '3.12'."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _reads(compiler: str, headers: Path) -> bool:
    """Return whether the compiler finds the headers: a gcc installed without libc's does not. Takes 50 ms."""
    command = [compiler, "-E", "-x", "c", "-I", str(headers), "-o", os.devnull, "-"]
    try:
        subprocess.run(
            command, input=INCLUDED, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return True
