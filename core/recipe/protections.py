"""The protections of a recipe: which are on, their limits, and the files and rows that they add."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.plugins import OBJECTIVES, PROTECTIONS, Configured, Options, PluginKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from finetop.core.recipe.schema import Data, Recipe, Source
    from finetop.core.runtime.home import Home


Problem = tuple[str, str, str]  # key, message, hint
OWN_STEPS = ("ppo",)  # objectives whose trainer is not transformers'


class ProtectionFacts(Configured[Options]):
    """What a recipe asks of a protection before anything is loaded."""

    short: str | None = None  # which option a bare value sets and turns it on (`kl_to_base: 0.5`)
    needs_text = False  # it reads what the model says of text, so that it goes with no model that writes none
    steps = False  # it acts at the trainer's steps, so that it needs a trainer of transformers

    def is_on(self, options: Options) -> bool:
        """Return whether the options turn it on."""
        return self.short is not None and bool(getattr(options, self.short))

    def limits(self, recipe: Recipe, options: Options) -> Iterable[Problem]:
        """Find what it can't do, before anything is loaded."""
        return ()

    def paths(self, options: Options) -> Iterable[tuple[str, str]]:
        """List the files that it reads: key and path."""
        return ()

    def sources(self, options: Options) -> tuple[Source, ...]:
        """Return the rows that it mixes into the training data."""
        return ()

    def read_files(self, options: Options, home: Home) -> None:
        """Read its files that are no training rows, before anything is queued. Raises BadInput."""

    def written(self, options: Options, recipe: Recipe, rows: int) -> tuple[int, int]:
        """Count the rows that it adds to so many others, and the tokens of each, at most."""
        return 0, 0

    def memory(self, options: Options, sizes: Sizes) -> Memory:
        """Return the bytes that it holds."""
        return Memory()


KIND: PluginKind[ProtectionFacts[Any]] = PROTECTIONS.of(ProtectionFacts)
load = KIND.load


def chosen(recipe: Recipe) -> dict[str, Any]:
    """Return the options of every protection that a recipe turns on, by name, in the order of names()."""
    every = {name: getattr(recipe.protect, name) for name in PROTECTIONS.names()}
    return {name: options for name, options in every.items() if load(name).is_on(options)}


def problems(recipe: Recipe) -> Iterator[Problem]:
    """Yield what a recipe's protections can't do with its model, method and objective."""
    objective = OBJECTIVES.load(recipe.objective.name)
    yield from _idle(recipe)
    for name, options in chosen(recipe).items():
        protection, key, about = load(name), f"protect.{name}", recipe.objective.name
        if not objective.compares:
            message = f"{key}: {about} trains a new model, which has nothing to forget."
            yield key, message, f"Set {key} to null."
        elif protection.needs_text and not objective.writes:
            message = f"{key} reads what the model generates; the model of {about} generates no text."
            yield key, message, f"Set {key} to null; protect.l2_sp works with it."
        elif protection.steps and about in OWN_STEPS:
            message = f"{key} needs a trainer of transformers, but {about} has its own."
            yield key, message, f"Set {key} to null: {about} has its own divergence from its start."
        yield from protection.limits(recipe, options)


def _idle(recipe: Recipe) -> Iterator[Problem]:
    """Refuse options of a protection that is off: whoever writes them thinks that it is on."""
    for name in PROTECTIONS.names():
        options, protection = getattr(recipe.protect, name), load(name)
        if not protection.is_on(options) and options != type(options)():
            message = f"protect.{name}: its other options have no effect without {protection.short}."
            hint = f"Set protect.{name} to null to leave it out, or set protect.{name}.{protection.short}."
            yield f"protect.{name}", message, hint


def paths(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the files that a recipe's protections read: key and path."""
    for name, options in chosen(recipe).items():
        yield from load(name).paths(options)


def with_sources(recipe: Recipe) -> Data:
    """Return the recipe's data with the rows that protections mix in."""
    import msgspec

    more = [source for name, options in chosen(recipe).items() for source in load(name).sources(options)]
    return msgspec.structs.replace(recipe.data, train=(*recipe.data.train, *more))


def read_files(recipe: Recipe, home: Home) -> None:
    """Read the files of a recipe's protections that are not training rows, as its job will. Raises BadInput."""
    for name, options in chosen(recipe).items():
        load(name).read_files(options, home)


@dataclass(frozen=True, slots=True)
class GeneratedRows:
    """Rows that are generated before the first step and learned with the others, and the most tokens of each."""

    rows: int = 0
    tokens: int = 0


def written(recipe: Recipe, rows: int) -> GeneratedRows:
    """Count the rows that a recipe's protections generate in addition to so many training rows."""
    counts = [load(name).written(options, recipe, rows) for name, options in chosen(recipe).items()]
    return GeneratedRows(sum(count for count, _ in counts), max((tokens for _, tokens in counts), default=0))


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a protection's memory depends on: trained parameters, bytes of one, vocabulary size."""

    moving: int
    weight_bytes: float
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in addition to training: on the model's device, and on the host (the same on a CPU)."""

    on_device: float = 0.0
    on_host: float = 0.0


def memory(recipe: Recipe, sizes: Sizes) -> Memory:
    """Sum the memory that a recipe's protections need in addition to training."""
    parts = [load(name).memory(options, sizes) for name, options in chosen(recipe).items()]
    return Memory(sum(part.on_device for part in parts), sum(part.on_host for part in parts))
