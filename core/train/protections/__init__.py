"""Protections against forgetting while a model trains: a file each, with what `Protection` in core/plugins.py lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.plugins import PROTECTIONS
from finetop.core.recipe import protections as recipe_protections

if TYPE_CHECKING:
    from finetop.core.models.resolved import ResolvedModel
    from finetop.core.recipe.schema import Recipe

names, load = PROTECTIONS.names, PROTECTIONS.load


def require(recipe: Recipe, base: ResolvedModel) -> None:
    """See that the protections fit the model's shape, before its weights are loaded. Raises BadInput."""
    requires = [
        (module.require, options)
        for name, options in recipe_protections.chosen(recipe).items()
        if hasattr(module := load(name), "require")
    ]
    if not requires:
        return
    from finetop.core.models.load import read_config

    config = read_config(base)
    for require_shape, options in requires:
        require_shape(config, options)
