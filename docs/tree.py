"""Rewrites the file tree of README.md from the first line of each file; `--check` only compares.

A Python file is described by its docstring's first sentence, a YAML or TCSS file by its first comment.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- tree -->", "<!-- /tree -->"
WIDTH = 100
TOPS = ("core", "tui", "recipes")
TOLD = {
    "pyproject.toml": "dependencies with their reasons, packages, tools",
    "Makefile": "demo, test, check, bench, screenshots",
    "CHANGELOG.md": "what changed, in users' words",
    ".ci/run": "what continuous integration runs",
    "docs/": "pictures, and the scripts that make them and this tree",
    "tests/": "mirror of the above; faults/ what is survived, bench/ what is measured",
}


def tree() -> str:
    lines = [f"{name:<34} {about}" for name, about in TOLD.items()]
    for top in TOPS:
        lines += folder(ROOT / top, 0)
    return "```text\n" + "\n".join(lines) + "\n```"


def folder(path: Path, depth: int) -> list[str]:
    lines = [line(f"{path.name}/", depth, about(path / "__init__.py"))]
    entries = sorted(path.iterdir(), key=lambda entry: (entry.is_dir(), entry.name))
    for entry in entries:
        if entry.is_dir() and entry.name != "__pycache__":
            lines += folder(entry, depth + 1)
        elif entry.is_file() and entry.name not in ("__init__.py", "py.typed"):
            lines.append(line(entry.name, depth + 1, about(entry)))
    return lines


def line(name: str, depth: int, said: str) -> str:
    return f"{'  ' * depth + name:<34} {said}".rstrip()


def about(path: Path) -> str:
    """Describe a file by what it says of itself."""
    if not path.exists():
        return ""
    text = path.read_text()
    if path.suffix == ".py":
        said = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    elif path.suffix in (".yaml", ".tcss", ".sql"):
        found = re.search(r"^(?:#|/\*|--)\s*(.+?)\s*(?:\*/)?$", text, re.MULTILINE)
        said = found[1] if found else ""
    else:
        said = {
            ".jsonl": f"{text.count(chr(10))} rows",
            ".txt": f"{len(text) / 1000:.0f} kB of general text",
        }.get(path.suffix, "")
    said = " ".join(said.split())
    first = re.match(r".+?[.](?= |$)", said)
    sentence = (first[0] if first else said).rstrip(".")
    return sentence if len(sentence) <= WIDTH else sentence[:WIDTH].rsplit(" ", 1)[0].rstrip(",:;") + " …"


def main() -> int:
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    made = f"{before}{START}\n{tree()}\n{END}{after}"
    if "--check" in sys.argv:
        return 0 if made == text else 1
    readme.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
