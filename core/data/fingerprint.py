"""A fingerprint of a resolved recipe and of the files that it names: equal fingerprints mean the same run.

Files count by their content, large files in a model's folder by name, size and time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.runtime.files import open_given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.runtime.home import Home

BLOCK = 1 << 20


def fingerprint(recipe: dict[str, Any], home: Home) -> str:
    """Return the fingerprint; empty if the files are on another machine, or can't be read."""
    if home.link is not None:
        return ""
    settings = {key: value for key, value in recipe.items() if key not in ("name", "about", "extends")}
    whole = hashlib.sha256(msgspec.json.encode(settings, order="deterministic"))
    try:
        for path in sorted(set(_paths(settings))):
            whole.update(f"\0{path}\0".encode())
            whole.update(_of_folder(Path(path)) if Path(path).is_dir() else _of_file(Path(path)))
    except OSError:
        return ""
    return whole.hexdigest()


def _paths(value: Any) -> Iterator[str]:
    """Yield the texts in a recipe that are existing absolute paths."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _paths(item)
    elif isinstance(value, str) and value.startswith("/") and Path(value).exists():
        yield value


def _of_file(file: Path) -> bytes:
    digest = hashlib.sha256()
    with open_given(file) as opened:
        while block := opened.read(BLOCK):
            digest.update(block)
    return digest.digest()


def _of_folder(folder: Path) -> bytes:
    """Hash small files by content, and large ones (weights) by name, size and time."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        facts = file.stat()
        digest.update(f"{file.relative_to(folder)}\0{facts.st_size}\0".encode())
        digest.update(_of_file(file) if facts.st_size < BLOCK * 64 else str(facts.st_mtime_ns).encode())
    return digest.digest()
