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
- `begin(options, setup, trainer)`: what acts in each step (finetop.core.train.protections._step.Acting),
- `memory(options, sizes)`: bytes that it holds.

Heavy imports stay inside functions, so that reading a recipe never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.plugins import listed_names, load_listed

if TYPE_CHECKING:
    from types import ModuleType


def names() -> tuple[str, ...]:
    """List the protections there are, without importing them, as a recipe writes them: kl_to_base."""
    return tuple(name.replace("-", "_") for name in listed_names(__name__))


def load(name: str) -> ModuleType:
    """Import one protection by its name. Raises NotFound with a suggestion."""
    return load_listed(__name__, name.replace("_", "-"), kind="protection")
