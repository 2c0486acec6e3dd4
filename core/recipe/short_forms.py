"""Spells out protections that were written as a bare value: `kl_to_base: 0.5` is `kl_to_base: {weight: 0.5}`."""

from __future__ import annotations

from finetop.core import protect
from finetop.core.recipe.strict_yaml import Node


def spelled_out(recipe: Node) -> Node:
    """Give the tree of a recipe with every known protection a mapping; null leaves one as it is by default."""
    section = recipe.value.get("protect") if isinstance(recipe.value, dict) else None
    if section is None or not isinstance(section.value, dict):
        return recipe
    assert isinstance(recipe.value, dict)
    known = protect.names()
    entries = {
        name: _mapping(node, protect.load(name).SHORT) if name in known else node
        for name, node in section.value.items()
    }
    whole = Node(entries, section.origin, section.line)
    return Node({**recipe.value, "protect": whole}, recipe.origin, recipe.line)


def _mapping(node: Node, short: str | None) -> Node:
    if isinstance(node.value, dict) or (short is None and node.value is not None):
        return node
    entries = {} if node.value is None or short is None else {short: node}
    return Node(entries, node.origin, node.line)
