"""Each file, folder and module that a docstring, a comment or a page names is there."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from source import ROOT, texts

TOPS = ("core", "tui", "tests", "docs", "recipes", ".github")
FILE = re.compile(r"(?<![\w./*{<-])((?:[\w-]+/)*[\w-]+\.(?:py|md|sql|tcss|svg|cast))\b")
EXTENSION = re.compile(r"\.(?:py|md|sql|tcss|svg|cast)\b")
FOLDER = re.compile(r"(?<![\w./*{<-])((?:core|tui|tests)/[\w/-]+)(?![\w.*])")
MODULE = re.compile(r"\bfinetop\.(?:core|tui|recipes)(?:\.\w+)*")
PLACE = re.compile(r"(?<![\w./*`'\"{<$~-])([a-z][a-z_]+)/(?=[\s,;:.)])")
# Files of a user, of a run or of another program.
OF_OTHERS = {
    *("faq.md", "news.md", "notes.md", "verdict.md", "manuals/tent.md", "data/README.md"),
    *("checkpoints", "docs/gpu-report.md"),
}


@cache
def tree() -> frozenset[str]:
    files = [file for top in TOPS for file in (ROOT / top).rglob("*") if "__pycache__" not in file.parts]
    return frozenset(file.relative_to(ROOT).as_posix() for file in [*files, *ROOT.glob("*")])


@cache
def ends() -> frozenset[str]:
    """Return each path of the tree in full and without its first folders."""
    parts = [path.split("/") for path in tree()]
    return frozenset("/".join(path[start:]) for path in parts for start in range(len(path)))


def lines_of(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the docstrings and comments of a module, or the lines of a page."""
    yield from texts(file) if file.suffix == ".py" else enumerate(file.read_text("utf-8").splitlines(), 1)


def missing(text: str, *, is_code: bool) -> Iterator[str]:
    if "/" not in text and not EXTENSION.search(text) and "finetop." not in text:
        return
    for name in FILE.findall(text):
        if name not in ends() and name not in OF_OTHERS:
            yield name
    for name in FOLDER.findall(text):
        if name.rstrip("/") not in tree() and f"{name}.py" not in tree():
            yield name
    for name in PLACE.findall(text) if is_code else ():
        if name not in ends() and name not in OF_OTHERS:
            yield f"{name}/"
    for name in MODULE.findall(text):
        if not is_there(name):
            yield name


@cache
def is_there(name: str) -> bool:
    """Return True if a dotted name is a module or package, or a name in one."""
    parts = name.split(".")[1:]
    for length in range(len(parts), 0, -1):
        path = "/".join(parts[:length])
        file = ROOT / f"{path}.py" if f"{path}.py" in tree() else ROOT / path / "__init__.py"
        if path in tree() or f"{path}.py" in tree():
            rest = parts[length:]
            return not rest or (file.exists() and bool(re.search(rf"\b{rest[0]}\b", file.read_text())))
    return False


def test_what_is_named_is_there() -> None:
    files = [file for top in TOPS for file in (ROOT / top).rglob("*") if file.suffix in (".py", ".md")]
    files += [ROOT / "README.md", ROOT / "pyproject.toml", ROOT / "Makefile"]
    gone = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in files
        for line, text in lines_of(file)
        for name in missing(text, is_code=file.suffix == ".py")
    ]
    assert not gone, "\n".join(gone)
