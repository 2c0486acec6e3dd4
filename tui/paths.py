"""Completes a typed path from the files of this machine."""

from __future__ import annotations

from os.path import commonprefix
from pathlib import Path

from finetop.core.errors import BadInput
from finetop.core.runtime.files import given_path

MOST = 1000  # entries of a folder that are read


def completed(text: str, folder: Path) -> tuple[str, tuple[str, ...]]:
    """Return the text completed as far as it is unambiguous, and the names that may follow."""
    above, _, begun = text.rpartition("/")
    above = f"{above}/" if "/" in text else ""
    try:
        entries = sorted((folder / given_path(above or ".")).iterdir())[:MOST]
    except (OSError, BadInput):
        return text, ()
    matching = [entry for entry in entries if entry.name.startswith(begun)]
    shown = [entry for entry in matching if begun or not entry.name.startswith(".")]
    names = tuple(entry.name + ("/" if entry.is_dir() else "") for entry in shown)
    shared = commonprefix(names or (begun,))  # noqa: RUF071  # of letters, not of folders
    return above + shared, names if len(names) > 1 else ()
