"""Run a command as on a machine that lacks some packages, or a compiler, and where finetop is not installed.

    python without.py [PACKAGE …] [compiler] -- python WORDS…

`python` is that of a virtual environment of links to what is installed here, and a folder of links stands in for the
PATH: so metadata, imports, and all child processes agree on what is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

COMPILER = "compiler"
COMPILERS = {"cc", "gcc", "g++", "c++", "clang", "c89", "c99", "tcc", "nvcc"}


def shadow(folder: Path, hidden: list[str]) -> dict[str, str]:
    """Make the virtual environment and the folder of programs. Returns the variables that point to them."""
    own = folder / "venv"
    venv.create(own, symlinks=True)
    (site,) = own.glob("lib/python*/site-packages")
    left_out = {"__pycache__"}
    for name in (*hidden, "finetop"):
        if name != COMPILER:
            left_out |= {file.parts[0] for file in metadata.distribution(name).files or ()}
    for place in map(Path, sys.path):
        if place.name == "site-packages":
            link_all(place, site, lambda name: name in left_out or name.endswith(".pth"))
    programs = folder / "programs"
    programs.mkdir()
    for place in map(Path, os.environ["PATH"].split(os.pathsep)):
        link_all(
            place, programs, lambda name: COMPILER in hidden and not COMPILERS.isdisjoint(name.split("-"))
        )
    variables = {**os.environ, "PATH": f"{own / 'bin'}{os.pathsep}{programs}"}
    for name in ("PYTHONPATH", "CC"):
        variables.pop(name, None)
    return variables


def link_all(place: Path, into: Path, is_left_out: Callable[[str], bool]) -> None:
    """Link a folder's entries, unless an earlier folder had them."""
    for entry in place.iterdir() if place.is_dir() else ():
        link = into / entry.name
        if not is_left_out(entry.name) and not link.is_symlink() and not link.exists():
            link.symlink_to(entry)


def main() -> int:
    cut = sys.argv.index("--")
    hidden, command = sys.argv[1:cut], sys.argv[cut + 1 :]
    with tempfile.TemporaryDirectory() as place:
        environment = shadow(Path(place), hidden)
        if command[0] == "python":
            command[0] = f"{place}/venv/bin/python"
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
