"""Formats of a report: a file a format, found by listing this folder.

A format module has `ENDING` (of its files) and `written(page)`, which gives the text of the whole file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.plugins import listed_names, load_listed

if TYPE_CHECKING:
    from types import ModuleType


def names() -> tuple[str, ...]:
    """List the formats, without importing them."""
    return listed_names(__name__)


def load(name: str) -> ModuleType:
    """Import one format by its name. Raises NotFound with a suggestion."""
    return load_listed(__name__, name, kind="format of a report")
