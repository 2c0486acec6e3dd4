"""Lays recipes over each other: a child over what it extends, and --set over both."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from finetop.core.errors import RecipeError
from finetop.core.recipe.schema import Method, Objective
from finetop.core.recipe.strict_yaml import MAX_DEPTH, Node, Origin, parse
from finetop.core.text import plain, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SET = "--set"
_OWN = ("name", "about", "extends")  # not handed down by a parent
_CHOICES = {"method": Method(options=None).name, "objective": Objective(options=None).name}
_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*|\[[0-9]{1,6}\])*", re.ASCII)
_PART = re.compile(r"[\w-]+", re.ASCII)


def merge_recipes(parent: Node, child: Node) -> Node:
    """Lay a recipe over the one it extends.

    Mappings merge, lists and single values replace. A new method (or objective) drops the old one's options.
    """
    assert isinstance(parent.value, dict)
    inherited = {key: node for key, node in parent.value.items() if key not in _OWN}
    for section in _CHOICES:
        if _differs(parent, section, _name_in(child, section)):
            inherited.pop(section, None)
    return _merge(Node(inherited, parent.origin, parent.line), child)


def _differs(recipe: Node, section: str, name: object) -> bool:
    return name is not None and name != (_name_in(recipe, section) or _CHOICES[section])


def _rename(recipe: Node, section: str, name: Node) -> Node:
    """Choose another method or objective, dropping the options of the old one."""
    assert isinstance(recipe.value, dict)
    if not _differs(recipe, section, name.value):
        return recipe
    return Node({**recipe.value, section: Node({"name": name}, name.origin, 0)}, recipe.origin, recipe.line)


def _name_in(recipe: Node, section: str) -> object:
    entries = recipe.value.get(section) if isinstance(recipe.value, dict) else None
    if entries is None or not isinstance(entries.value, dict) or "name" not in entries.value:
        return None
    return entries.value["name"].value


def _merge(under: Node, over: Node) -> Node:
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    entries = dict(under.value)
    for key, node in over.value.items():
        entries[key] = _merge(entries[key], node) if key in entries else node
    return Node(entries, over.origin, over.line)


def apply_sets(recipe: Node, sets: Sequence[str], cwd: Path) -> Node:
    """Lay `--set train.epochs=3` or `--set data.train[0].path=x.jsonl` over a recipe.

    Names of methods go first, as they drop options. Whether the settings exist is found by the validation,
    as for a file. Raises RecipeError.
    """
    parsed = [parse_set(text, Origin(SET, cwd)) for text in sets]
    for parts, value in sorted(parsed, key=lambda pair: pair[0][1:] != ("name",)):
        if len(parts) == 2 and parts[0] in _CHOICES and parts[1] == "name":
            recipe = _rename(recipe, str(parts[0]), value)
        else:
            recipe = _put(recipe, parts, value, "")
    return recipe


def parse_set(text: str, origin: Origin) -> tuple[tuple[str | int, ...], Node]:
    """Take a --set text apart: the parts of its key, its value. Raises RecipeError."""
    key, equals, value = text.partition("=")
    key = key.strip()
    hint = "Write it as --set train.epochs=3."
    if not equals:
        raise RecipeError(f"{quoted(text)} is not KEY=VALUE.", place=SET, hint=hint)
    if not _KEY.fullmatch(key):
        raise RecipeError(f"{quoted(key)} is not the name of a setting.", place=SET, hint=hint)
    if key == "extends":
        raise RecipeError(
            "extends cannot be set.", place=SET, key=key, hint="Run that recipe itself, with --set."
        )
    parts = tuple(int(part) if part.isdigit() else part for part in _PART.findall(key))
    if len(parts) > MAX_DEPTH:
        raise RecipeError(f"{quoted(key)} is nested deeper than {MAX_DEPTH} levels.", place=SET)
    if not value.strip():
        return parts, Node(None, origin, 0)
    try:
        return parts, parse(value, origin, numbered=False)
    except RecipeError as error:
        reason = error.message.removeprefix(f"{SET}: ")
        raise RecipeError(f"{key}: {reason}", place=SET, key=key, hint=error.hint) from error


def _put(node: Node | None, parts: tuple[str | int, ...], value: Node, key: str) -> Node:
    """Return the tree with one value put in; what is missing on the way is made."""
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    inside = None if node is None else node.value
    if isinstance(head, int):
        if not isinstance(inside, list | None):
            raise RecipeError(f"{key} is {quoted(inside)}, not a list.", place=SET, key=key)
        items = list(inside or [])
        if head > len(items):
            raise RecipeError(
                f"{key} has {len(items)} items.",
                place=SET,
                key=key,
                hint=f"Use {key}[{len(items)}] to add one.",
            )
        items[head : head + 1] = [
            _put(items[head] if head < len(items) else None, rest, value, f"{key}[{head}]")
        ]
        return _renewed(node, items, value)
    if isinstance(inside, list):
        raise RecipeError(
            f"{key} is a list.", place=SET, key=key, hint=f"Name an item, as in {key}[0].{head}."
        )
    if not isinstance(inside, dict | None):
        raise RecipeError(f"{key} is {quoted(inside)}, and has no settings.", place=SET, key=key)
    entries = dict(inside or {})
    entries[head] = _put(entries.get(head), rest, value, f"{key}.{head}" if key else plain(head))
    return _renewed(node, entries, value)


def _renewed(node: Node | None, value: list[Node] | dict[str, Node], new: Node) -> Node:
    """Keep the place of what was there; what was made has the place of the new value."""
    return Node(value, new.origin, 0) if node is None else Node(value, node.origin, node.line)
