"""Spells out settings that were written as a bare value: `kl_to_base: 0.5` is `kl_to_base: {weight: 0.5}`.

So it is with the protections of `protect:`, and with the alarms of `alarms:`, of which `spike: false` turns one off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.plugins import ALARMS, PROTECTIONS
from finetop.core.recipe.strict_yaml import Node

if TYPE_CHECKING:
    from collections.abc import Mapping


def spelled_out(recipe: Node) -> Node:
    """Give the tree of a recipe with every known one a mapping; null leaves one as it is by default."""
    shorts = {name: PROTECTIONS.load(name).SHORT for name in PROTECTIONS.names()}
    return _section(_section(recipe, "protect", shorts), "alarms", dict.fromkeys(ALARMS.names(), "on"))


def _section(recipe: Node, key: str, shorts: Mapping[str, str | None]) -> Node:
    """Spell out one section; `shorts` says which option a bare value sets."""
    section = recipe.value.get(key) if isinstance(recipe.value, dict) else None
    if section is None or not isinstance(section.value, dict):
        return recipe
    assert isinstance(recipe.value, dict)
    entries = {
        name: _mapping(node, shorts[name]) if name in shorts else node for name, node in section.value.items()
    }
    whole = Node(entries, section.origin, section.line)
    return Node({**recipe.value, key: whole}, recipe.origin, recipe.line)


def _mapping(node: Node, short: str | None) -> Node:
    if isinstance(node.value, dict) or (short is None and node.value is not None):
        return node
    entries = {} if node.value is None or short is None else {short: node}
    return Node(entries, node.origin, node.line)
