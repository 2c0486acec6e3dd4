"""The source as tests of its layout and its words read it: statements, docstrings, comments, imports."""

from __future__ import annotations

import ast
import gc
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORT = re.compile(
    r"^\s*(?:from (finetop[\w.]*) import (\([^)]*\)|.+)|import (finetop[\w.]+))", re.MULTILINE
)
COMMENT = re.compile(r"(?:^\s*|  )# .*")
# At the top, or after a line that ends with a colon; blank lines and comments may be between.
DOCSTRING = re.compile(
    r'(?:\A|: *(?:#[^\n]*)?\n)(?: *#[^\n]*\n| *\n)* *r?"""(.*?)"""',
    re.DOTALL,
)


def files(*tops: str) -> list[Path]:
    """Return the modules of these top folders, in order."""
    return sorted(file for top in tops for file in (ROOT / top).rglob("*.py"))


def imports(text: str) -> Iterator[tuple[str, str]]:
    """Yield our modules that a text imports, each with a name from it or an empty one, without parsing it."""
    for module, names, whole in IMPORT.findall(text):
        for name in re.findall(r"\w+", re.sub(r"#.*| as \w+", "", names)) or [""]:
            yield module or whole, name


def parsed(file: Path) -> ast.Module:
    """Parse a module, without looking for garbage meanwhile: that took four fifths of the time."""
    gc.disable()
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    finally:
        gc.enable()


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a module and all its statements, those in functions too, without the expressions: a tenth of all nodes."""
    yield node
    for name in ("body", "orelse", "handlers", "finalbody", "cases"):
        for child in getattr(node, name, ()):
            yield from statements(child)


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the docstrings and comments of a module, each with its line; parsing it takes ten times as long."""
    text = file.read_text(encoding="utf-8")
    for found in DOCSTRING.finditer(text):
        yield text.count("\n", 0, found.start(1)) + 1, inspect.cleandoc(found[1])
    for line, words in enumerate(text.splitlines(), 1):
        if "# " in words and (comment := COMMENT.search(words)):
            yield line, comment[0]
