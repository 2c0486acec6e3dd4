"""Alarms of a run that trains: one file each, found by listing this folder.

A setting of a recipe's `alarms:` is the name of a file here. Such a module has
- `ABOUT` (one line), `Options` (a frozen struct; its `on` turns the alarm on or off, `spike: false` is short for it),
- `watch(options, run)`: what looks at the numbers of that run, or None where they say nothing of the kind.

A watch is pure: it knows what it is fed, step by step, and no clock, no file and no library of training. It speaks
once when something begins, and once when it is over; in between it is silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from finetop.core.plugins import listed_names, load_listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from finetop.core.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class Run:
    """What a watch must know of the run that it looks at."""

    steps: int  # planned
    loss_falls: bool = True  # its loss says how well it learns
    drift_limit: float = 0.1


@dataclass(frozen=True, slots=True)
class Said:
    """What has begun, in words that stand alone; with `is_over`, that it has ended."""

    text: str
    is_over: bool = False


class Watch(Protocol):
    """Looks at the numbers of one run, in their order."""

    def look(self, step: int, seconds: float, values: Mapping[str, float]) -> Said | None:
        """Take in what was measured at a step and a moment of the monotonic clock; not all of it at every step."""
        ...


def names() -> tuple[str, ...]:
    """List the alarms there are, without importing them, as a recipe writes them: dead_gradient."""
    return tuple(name.replace("-", "_") for name in listed_names(__name__))


def load(name: str) -> ModuleType:
    """Import one alarm by its name. Raises NotFound with a suggestion."""
    return load_listed(__name__, name.replace("_", "-"), kind="alarm")


def watches(recipe: Recipe, run: Run) -> dict[str, Watch]:
    """Make what watches a run, by kind: all that its recipe leaves on, and that its numbers allow."""
    found = {}
    for name in names():
        options = getattr(recipe.alarms, name)
        watch = load(name).watch(options, run) if options.on else None
        if watch is not None:
            found[name] = watch
    return found
