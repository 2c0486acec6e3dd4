"""Finds what a folder offers (methods, objectives, formats) by listing its modules: no registry to edit."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of plug-in: the package whose files are its plug-ins, imported by name when it is first asked.

    A room that needs the names or settings of plug-ins above it asks here, and so imports nothing upwards. The
    package says in its docstring what a plug-in of it has.
    """

    package: str

    def names(self) -> tuple[str, ...]:
        """List the plug-ins there are, without importing them."""
        names: tuple[str, ...] = import_module(self.package).names()
        return names

    def load(self, name: str) -> Any:
        """Import one plug-in by its name. Raises NotFound with a suggestion."""
        return import_module(self.package).load(name)


FORMATS = Kind("finetop.core.data.formats")
METHODS = Kind("finetop.core.train.methods")
OBJECTIVES = Kind("finetop.core.train.objectives")
PROTECTIONS = Kind("finetop.core.train.protections")
ALARMS = Kind("finetop.core.train.alarms")
REMEDIES = Kind("finetop.core.remedies")
APPROACHES = Kind("finetop.core.approaches")
