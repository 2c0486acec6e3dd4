"""The light install, `pip install finetop` without an extra, in a virtual environment of its own.

`from_links` makes it of what is installed here, in a second; `from_wheels` of wheels, as pip resolves them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "tui", "recipes")
START = "#!{python}\nimport sys\nfrom finetop.tui.main import main\nsys.exit(main())\n"


def from_links(folder: Path) -> Path:
    """Return `finetop` of an environment with links to finetop's own folders and to what it needs, and nothing else.

    finetop itself has no metadata there.
    """
    site = make_venv(folder)
    (site / "finetop").mkdir()
    for name in PACKAGES:
        (site / "finetop" / name).symlink_to(ROOT / name)
    for name in sorted(closure()):
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for top in tops:
            (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    return make_program(folder)


def from_wheels(folder: Path, wheels: Path) -> Path:
    """Return `finetop` of an environment with all wheels of a folder, and nothing else."""
    site = make_venv(folder)
    files = sorted(map(str, wheels.glob("*.whl")))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", str(site), *files], check=True)
    return make_program(folder)


def make_program(folder: Path) -> Path:
    program = folder / "bin" / "finetop"
    program.write_text(START.format(python=folder / "bin" / "python"))
    program.chmod(0o755)
    return program


def make_venv(folder: Path) -> Path:
    """Make an empty environment. Returns the folder of its packages."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    return site


def closure() -> set[str]:
    """Return the distributions that finetop without extras needs, and those that they need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pending, seen = [Requirement(line) for line in project["dependencies"]], set()
    while pending:
        requirement = pending.pop()
        if (requirement.name, *sorted(requirement.extras)) in seen:
            continue
        seen.add((requirement.name, *sorted(requirement.extras)))
        for line in metadata.requires(requirement.name) or ():
            needed, extras = Requirement(line), requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                pending.append(needed)
    return {name for name, *_ in seen}


def build_wheel(folder: Path) -> Path:
    """Build finetop's wheel from a copy of the tree; return it."""
    source = folder / "source"  # not in place: setuptools would take stale files of an earlier build along
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    made = subprocess.run(build, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel
