"""Finds the tests of what has changed since a commit, the nearest first: for `make quick`.

    python tests/rig/near_tests.py [COMMIT]   # default: HEAD; prints a file a line

A test file is as near as it has imports between itself and a changed file: changed tests come first and those of a
changed file's name, then the tests in its folder, then those that import it, then those that import what imports it. A
changed file that is no module (a page, a style sheet, a recipe) belongs to the modules of its folder, and to tests that
name it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST = 80  # files: more are not collected in time
ROOMS = {"core": "finetop.core", "tui": "finetop.tui", "recipes": "finetop.recipes"}


def changed_files(commit: str) -> list[str]:
    """Return the files of the working tree that differ from a commit, new ones too."""
    lines: list[str] = []
    for words in (["diff", "--name-only", commit], ["ls-files", "--others", "--exclude-standard"]):
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        lines += done.stdout.splitlines()
    return sorted(set(lines))


def module_of(file: Path) -> str:
    """Return the name under which a file is imported: core/text.py -> finetop.core.text; a test file's is its path."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts[0] in ROOMS:
        return ".".join([ROOMS[parts[0]], *parts[1:]]).removesuffix(".__init__")
    return parts[-1] if parts[:2] in (("tests", "rig"), ("tests", "faults")) else "/".join(parts)


def imported_by(file: Path) -> set[str]:
    """Return all names that a file imports, anywhere in it: of modules, and of what may be one."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def is_test(file: Path) -> bool:
    return file.name.startswith("test_") and file.suffix == ".py"


def near_tests(changed: list[str]) -> list[Path]:
    """Return the test files that reach a changed file by imports, the nearest first."""
    files = [file for room in (*ROOMS, "tests") for file in (ROOT / room).rglob("*.py")]
    by_module = {module_of(file): file for file in files}
    importers: dict[Path, set[Path]] = defaultdict(set)
    for file in files:
        for name in imported_by(file):
            if (found := by_module.get(name)) is not None and found != file:
                importers[found].add(file)
    starts: set[Path] = set()
    distance: dict[Path, int] = {}
    for name in changed:
        file = ROOT / name
        if file.suffix == ".py" and file.exists():
            starts.add(file)
        else:
            starts |= {near for near in files if near.parent == file.parent}
            distance |= {test: 0 for test in files if is_test(test) and file.name in test.read_text()}
        own = file.parent.relative_to(ROOT)
        own = own if own.parts[:1] == ("tests",) else Path("tests") / own
        distance |= {test: 0 for test in files if is_test(test) and test.parent == ROOT / own}
    reached = dict.fromkeys(starts, 0)
    ring, hops = starts, 0
    while ring:
        hops += 1
        ring = {importer for file in ring for importer in importers[file]} - reached.keys()
        reached |= dict.fromkeys(ring, hops)
    for file, hops in reached.items():
        distance[file] = min(hops, distance.get(file, hops))
    names = {f"test_{Path(name).stem}.py" for name in changed}
    distance |= {test: -1 for test, hops in distance.items() if hops == 0 and test.name in names}
    tests = [test for test in distance if is_test(test)]
    return sorted(tests, key=lambda test: (distance[test], str(test)))


def main() -> int:
    tests = near_tests(changed_files(*sys.argv[1:2] or ["HEAD"]))
    print(*(test.relative_to(ROOT) for test in tests[:MOST]), sep="\n")
    print(f"{min(MOST, len(tests))} test files of the {len(tests)} that the change reaches", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
