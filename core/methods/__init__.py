"""Which weights move: one file a method, found by listing this folder.

A method module has `ABOUT` (one line), `Options` (a frozen struct: the settings under `method:` in a recipe)
and `prepare(model, options)`, which gives back the model with the right weights trainable. Heavy imports stay
inside functions, so that listing methods never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.listing import listed_names, load_listed

if TYPE_CHECKING:
    from types import ModuleType


def names() -> tuple[str, ...]:
    """List the methods there are, without importing them."""
    return listed_names(__name__)


def load(name: str) -> ModuleType:
    """Import one method by its name. Raises NotFound with a suggestion."""
    return load_listed(__name__, name, kind="method")
