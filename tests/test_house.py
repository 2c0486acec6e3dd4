"""The layout of the source: rooms in one order, imports downwards alone (types too), no circle, no loose modules."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOOSE = {"errors", "text", "plugins", "run_job"}  # the modules that are rooms of their own


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(("finetop", *(parts[:-1] if parts[-1] == "__init__" else parts)))


@cache
def imports() -> dict[str, set[str]]:
    """Read which of our modules each of our modules imports: at its top, in functions, and for types."""
    files = {name_of(file): file for top in ("core", "tui") for file in (ROOT / top).rglob("*.py")}
    read: dict[str, set[str]] = {}
    for module, file in files.items():
        read[module] = targets = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in files:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= {name if name in files else node.module for name in names}
            elif isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names if alias.name in files}
        targets.discard(module)
    return read


def rooms() -> list[str]:
    """Read the rooms of core from the one place that orders them, the lowest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (contract["layers"] for contract in contracts["contracts"] if contract["type"] == "layers")
    return list(reversed(layers))


def room_of(module: str) -> str:
    return module.split(".")[2] if module.startswith("finetop.core.") else module.split(".")[1]


def test_no_module_imports_itself_through_others() -> None:
    assert len(imports()) > 100
    try:
        tuple(TopologicalSorter(imports()).static_order())
    except CycleError as error:
        raise AssertionError(f"a circle: {' -> '.join(error.args[1])}") from None


def test_a_room_imports_from_those_below_it_alone() -> None:
    order = {room: place for place, room in enumerate([*rooms(), "tui"])}
    upwards = [
        f"{module} imports {target}"
        for module, targets in imports().items()
        for target in targets
        if module != "finetop.core" and target != "finetop.core"
        if order[room_of(module)] < order[room_of(target)]
    ]
    assert not upwards


def test_every_module_of_core_has_a_room() -> None:
    assert {file.stem for file in (ROOT / "core").glob("*.py")} == {*LOOSE, "__init__"}
    folders = {file.parent.name for file in (ROOT / "core").glob("*/__init__.py")}
    assert folders | LOOSE == set(rooms())


def test_tests_mirror_the_rooms() -> None:
    folders = {file.name for file in (ROOT / "tests" / "core").iterdir() if any(file.glob("**/*.py"))}
    assert folders <= set(rooms())
    screens = {file.name for file in (ROOT / "tests" / "tui" / "screens").iterdir() if any(file.glob("*.py"))}
    assert screens <= {file.name for file in (ROOT / "tui" / "screens").iterdir() if file.is_dir()}
