"""What the weights learn from: one file an objective, found by listing this folder.

An objective module has `ABOUT` (one line) and `Options` (a frozen struct: the settings under `objective:` in
a recipe). Heavy imports stay inside functions, so that listing objectives never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.listing import listed_names, load_listed

if TYPE_CHECKING:
    from types import ModuleType


def names() -> tuple[str, ...]:
    """List the objectives there are, without importing them."""
    return listed_names(__name__)


def load(name: str) -> ModuleType:
    """Import one objective by its name. Raises NotFound with a suggestion."""
    return load_listed(__name__, name, kind="objective")
