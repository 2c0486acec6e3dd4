"""Finds what a folder offers (methods, objectives, formats) by listing its modules: no registry to edit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from finetop.core.errors import NotFound, did_you_mean

if TYPE_CHECKING:
    from types import ModuleType


def listed_names(package: str) -> tuple[str, ...]:
    """List the modules of a package, importing none, by their public names: lora_plus.py is lora-plus."""
    from pkgutil import iter_modules

    modules = iter_modules(import_module(package).__path__)
    return tuple(sorted(m.name.replace("_", "-") for m in modules if not m.name.startswith("_")))


def load_listed(package: str, name: str, *, kind: str) -> ModuleType:
    """Import the module of that public name; only names that the folder lists are ever imported.

    Raises NotFound, with a suggestion.
    """
    names = listed_names(package)
    if name not in names:
        raise NotFound(f"there is no {kind} {name[:60]!r}.", hint=did_you_mean(name[:60], names))
    return import_module(f"{package}.{name.replace('-', '_')}")
