"""Protections against forgetting while a model trains: one file each, found by listing this folder.

A setting of a recipe's `protect:` is the name of a file here. Such a module has
- `ABOUT` (one line), `Options` (a frozen struct, which by default leaves it out),
- `SHORT`: which option a bare value sets (`kl_to_base: 0.5`), and turns it on; None if there is none.

and may have
- `is_on(options)`: whether the options turn it on, where SHORT alone does not say so,
- `NEEDS_TEXT = True`: it reads what the model says of text, so that it goes with no model that writes none,
- `STEPS = True`: it acts at the trainer's steps, so that it needs a trainer of transformers,
- `limits(recipe, options)`: what it can't do, as (key, message, hint), found before anything is loaded,
- `paths(options)`: files that it reads, as (key, path); `sources(options)`: rows mixed into the training data,
- `require(config, options)`: see that it fits the model's config.json; raises BadInput,
- `rows(options, base, train)`: the examples to train on, made while the base is in memory, before the method is,
- `hold(options, model)`: weights that are not to move, once the method has chosen which do,
- `begin(options, setup, trainer)`: what acts in each step (finetop.core.protect._acting.Acting),
- `memory(options, sizes)`: bytes that it holds.

Heavy imports stay inside functions, so that reading a recipe never imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.plugins import listed_names, load_listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from finetop.core.recipe.schema import Data, Recipe

Found = tuple[str, str, str]  # key, message, hint

OWN_STEPS = ("ppo",)  # objectives whose trainer is none of transformers


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


def names() -> tuple[str, ...]:
    """List the protections there are, without importing them, as a recipe writes them: kl_to_base."""
    return tuple(name.replace("-", "_") for name in listed_names(__name__))


def load(name: str) -> ModuleType:
    """Import one protection by its name. Raises NotFound with a suggestion."""
    return load_listed(__name__, name.replace("_", "-"), kind="protection")


def chosen(recipe: Recipe) -> dict[str, Any]:
    """Give the options of every protection that a recipe turns on, by name, in the order of names()."""
    return {name: options for name in names() if is_on(name, options := getattr(recipe.protect, name))}


def is_on(name: str, options: Any) -> bool:
    """Say if these options turn a protection on."""
    module = load(name)
    return bool(module.is_on(options) if hasattr(module, "is_on") else getattr(options, module.SHORT))


def problems(recipe: Recipe) -> Iterator[Found]:
    """Find what the protections of a recipe can't do with its model, method and objective."""
    from finetop.core.train import objectives

    objective = objectives.load(recipe.objective.name)
    yield from _idle(recipe)
    for name, options in chosen(recipe).items():
        module, key, about = load(name), f"protect.{name}", recipe.objective.name
        if not getattr(objective, "COMPARES", True):
            yield key, f"{key}: {about} makes a new model, which has nothing to forget.", "Leave it out."
        elif getattr(module, "NEEDS_TEXT", False) and not getattr(objective, "WRITES", True):
            said = f"{key} looks at what the model writes; that of {about} writes no text."
            yield key, said, "Leave it out; l2_sp goes with it."
        elif getattr(module, "STEPS", False) and about in OWN_STEPS:
            said = f"{key} acts in the steps of a trainer of transformers, and that of {about} is its own."
            yield key, said, f"Leave it out: {about} is held to its start by a divergence of its own."
        if hasattr(module, "limits"):
            yield from module.limits(recipe, options)


def _idle(recipe: Recipe) -> Iterator[Found]:
    """Refuse options of a protection that is off: whoever writes them thinks that it is on."""
    for name in names():
        options, short = getattr(recipe.protect, name), load(name).SHORT
        if not is_on(name, options) and options != type(options)():
            said = f"protect.{name}: its other options do nothing without {short}."
            yield (
                f"protect.{name}",
                said,
                f"Set protect.{name}.{short}; or protect.{name} to null, to leave it out.",
            )


def paths(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """List the files that the protections of a recipe read: key and path."""
    for name, options in chosen(recipe).items():
        module = load(name)
        if hasattr(module, "paths"):
            yield from module.paths(options)


def with_sources(recipe: Recipe) -> Data:
    """Give the recipe's data with the rows that a protection mixes in."""
    import msgspec

    more = [
        source
        for name, options in chosen(recipe).items()
        if hasattr(load(name), "sources")
        for source in load(name).sources(options)
    ]
    return msgspec.structs.replace(recipe.data, train=(*recipe.data.train, *more))


def memory(recipe: Recipe, sizes: Sizes) -> Memory:
    """Add up what the protections of a recipe hold beside the training."""
    held = [
        load(name).memory(options, sizes)
        for name, options in chosen(recipe).items()
        if hasattr(load(name), "memory")
    ]
    return Memory(sum(part.on_device for part in held), sum(part.on_host for part in held))
