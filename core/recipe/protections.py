"""What the protections of a recipe ask of it: which are on, what they can't do, the files and rows that they bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.plugins import OBJECTIVES, PROTECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.recipe.schema import Data, Recipe
    from finetop.core.runtime.home import Home


Problem = tuple[str, str, str]  # key, message, hint
OWN_STEPS = ("ppo",)  # objectives whose trainer is none of transformers


def chosen(recipe: Recipe) -> dict[str, Any]:
    """Return the options of every protection that a recipe turns on, by name, in the order of names()."""
    return {
        name: options for name in PROTECTIONS.names() if is_on(name, options := getattr(recipe.protect, name))
    }


def is_on(name: str, options: Any) -> bool:
    """Say if these options turn a protection on."""
    module = PROTECTIONS.load(name)
    if hasattr(module, "is_on"):
        return bool(module.is_on(options))
    return module.SHORT is not None and bool(getattr(options, module.SHORT))


def problems(recipe: Recipe) -> Iterator[Problem]:
    """Find what the protections of a recipe can't do with its model, method and objective."""
    objective = OBJECTIVES.load(recipe.objective.name)
    yield from _idle(recipe)
    for name, options in chosen(recipe).items():
        module, key, about = PROTECTIONS.load(name), f"protect.{name}", recipe.objective.name
        if not getattr(objective, "COMPARES", True):
            yield (
                key,
                f"{key}: {about} trains a new model, which has nothing to forget.",
                f"Set {key} to null.",
            )
        elif getattr(module, "NEEDS_TEXT", False) and not getattr(objective, "WRITES", True):
            said = f"{key} looks at what the model writes; that of {about} writes no text."
            yield key, said, f"Set {key} to null; protect.l2_sp goes with it."
        elif getattr(module, "STEPS", False) and about in OWN_STEPS:
            said = f"{key} acts in the steps of a trainer of transformers, and that of {about} is its own."
            yield key, said, f"Set {key} to null: {about} is held to its start by a divergence of its own."
        if hasattr(module, "limits"):
            yield from module.limits(recipe, options)


def _idle(recipe: Recipe) -> Iterator[Problem]:
    """Refuse options of a protection that is off: whoever writes them thinks that it is on."""
    for name in PROTECTIONS.names():
        options, short = getattr(recipe.protect, name), PROTECTIONS.load(name).SHORT
        if not is_on(name, options) and options != type(options)():
            said = f"protect.{name}: its other options have no effect without {short}."
            hint = f"Set protect.{name} to null to leave it out, or set protect.{name}.{short}."
            yield f"protect.{name}", said, hint


def paths(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """List the files that the protections of a recipe read: key and path."""
    for name, options in chosen(recipe).items():
        module = PROTECTIONS.load(name)
        if hasattr(module, "paths"):
            yield from module.paths(options)


def with_sources(recipe: Recipe) -> Data:
    """Return the recipe's data with the rows that a protection mixes in."""
    import msgspec

    more = [
        source
        for name, options in chosen(recipe).items()
        if hasattr(module := PROTECTIONS.load(name), "sources")
        for source in module.sources(options)
    ]
    return msgspec.structs.replace(recipe.data, train=(*recipe.data.train, *more))


def look(recipe: Recipe, home: Home) -> None:
    """Read the files of a recipe's protections that are no training rows, as its job will. Raises BadInput."""
    for name, options in chosen(recipe).items():
        if hasattr(module := PROTECTIONS.load(name), "look"):
            module.look(options, home)


@dataclass(frozen=True, slots=True)
class Written:
    """Rows that are made before the first step and learned with the others, and the tokens of each, at most."""

    rows: int = 0
    tokens: int = 0


def written(recipe: Recipe, rows: int) -> Written:
    """Count what the protections of a recipe write beside so many rows to learn from."""
    for name, options in chosen(recipe).items():
        if hasattr(module := PROTECTIONS.load(name), "written"):
            return Written(*module.written(options, recipe, rows))
    return Written()


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the memory of a protection depends on: weights that move, bytes of one, words of the vocabulary."""

    moving: int
    weight_bytes: float
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes beside the training: where the model is, and on the host (which is the same on a CPU)."""

    on_device: float = 0.0
    on_host: float = 0.0


def memory(recipe: Recipe, sizes: Sizes) -> Memory:
    """Add up what the protections of a recipe hold beside the training."""
    held = [
        module.memory(options, sizes)
        for name, options in chosen(recipe).items()
        if hasattr(module := PROTECTIONS.load(name), "memory")
    ]
    return Memory(sum(part.on_device for part in held), sum(part.on_host for part in held))
