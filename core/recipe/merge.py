"""Merge recipes: a child over the one it extends, and --set over both.

Sections merge setting by setting; the value of a setting is replaced. Exceptions are marked at the setting itself by a
Meta of core/recipe/schema.py: ONE_CHOICE for a section that is replaced whole, MERGED for a mapping that merges
although it is no section; belongs_to(), instead_of() and yields_to() for settings that are dropped when another one
beside them is written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from finetop.core.errors import RecipeError
from finetop.core.recipe.schema import Recipe
from finetop.core.recipe.strict_yaml import MAX_DEPTH, Node, Origin, parse
from finetop.core.recipe.validate import CHOICES, arms, extra, is_struct, item_of, struct_fields
from finetop.core.text import plain, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import msgspec

    Nodes = Mapping[str, Node]
    Known = Mapping[str, msgspec.structs.FieldInfo]

SET = "--set"
OWN = ("name", "about", "extends")  # not inherited from a parent
_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*|\[[0-9]{1,6}\])*", re.ASCII)
_PART = re.compile(r"[\w-]+", re.ASCII)


def merge_recipes(parent: Node, child: Node) -> Node:
    """Merge a recipe over the one it extends; the parent's name, about and extends are not inherited."""
    inherited = {key: node for key, node in parent.settings.items() if key not in OWN}
    return _merged(parent.with_value(inherited), child, Recipe)


def _merged(under: Node, over: Node, kind: Any, drops: bool = True) -> Node:
    """Merge one value over another; `kind` is the setting's annotation, or None for an unknown setting."""
    if not (isinstance(under.value, dict) and isinstance(over.value, dict) and merges(kind)):
        return over
    known = _settings_of(kind, over, under)
    entries = _left(under.value, over.value, kind, known) if drops else dict(under.value)
    for key, node in over.value.items():
        below = known[key].type if key in known else None
        entries[key] = _merged(entries[key], node, below, drops) if key in entries else node
    return over.with_value(entries)


def merges(kind: Any) -> bool:
    """Return True if a mapping in this setting merges with the one below it."""
    declared: bool | None = extra(kind).get("merges")
    return is_section(kind) if declared is None else declared


def is_section(kind: Any) -> bool:
    """Return True if a setting of this type may be a section: a mapping whose keys are settings."""
    return any(is_struct(arm) for arm in arms(kind))


def _settings_of(kind: Any, *nodes: Node | None) -> Known:
    """Return the settings of a section; those of a method or objective by the first name among the nodes."""
    for arm in arms(kind):
        if arm in CHOICES:
            named = [node.settings["name"].value for node in nodes if node and "name" in node.settings]
            name = next((name for name in named if name is not None), arm(options=None).name)
            if not isinstance(name, str) or name not in CHOICES[arm].names():
                return struct_fields(arm)
            return struct_fields(arm) | struct_fields(CHOICES[arm].load(name).options)
        if is_struct(arm):
            return struct_fields(arm)
    return {}


def _left(under: Nodes, over: Nodes, kind: Any, known: Known) -> dict[str, Node]:
    """Return what is left of a section below when these settings are merged over it.

    A new method or objective drops the old one's options. Settings of one layer do not drop each other.
    """
    for arm in arms(kind):
        if arm in CHOICES and (name := over.get("name")) is not None:
            before = under["name"].value if "name" in under else arm(options=None).name
            if name.value is not None and name.value != before:
                return {}
    others = [key for key in known if key not in over]
    dropped = {key for key in others if any(_drops(head, key, under, over, known) for head in over)}
    return {key: node for key, node in under.items() if key not in dropped}


def _drops(head: str, key: str, under: Nodes, over: Nodes, known: Known) -> bool:
    """Return True if writing the setting `head` drops the setting `key` beside it."""
    if head not in known or over[head].value is None:
        return False
    marks = extra(known[key].type)
    if marks.get("belongs_to") == head:
        return over[head].value != (under[head].value if head in under else known[head].default)
    either = marks.get("instead_of") == head or extra(known[head].type).get("instead_of") == key
    return either or marks.get("yields_to") == head


def apply_sets(recipe: Node, sets: Sequence[str], cwd: Path) -> Node:
    """Apply `--set train.epochs=3` or `--set data.train[0].path=x.jsonl` to a recipe.

    A whole section merges as in a file; any other key gets exactly its value. Validation finds settings that don't
    exist, as for a file. Raises RecipeError.
    """
    parsed = [parse_set(text, Origin(SET, cwd)) for text in sets]
    # twice, as they are one layer: what one --set drops of the recipe, another may have set
    for drops in (True, False):
        for parts, value in parsed:
            recipe = _put(recipe, parts, value, "", Recipe, drops)
    return recipe


def parse_set(text: str, origin: Origin) -> tuple[tuple[str | int, ...], Node]:
    """Split a --set text into the parts of its key and its value. Raises RecipeError."""
    key, separator, value = text.partition("=")
    key = key.strip()
    hint = "Write it as --set train.epochs=3."
    if not separator:
        raise RecipeError(f"{quoted(text)} is not KEY=VALUE.", place=SET, hint=hint)
    if not _KEY.fullmatch(key):
        raise RecipeError(f"{quoted(key)} is not the name of a setting.", place=SET, hint=hint)
    if key == "extends":
        hint = "Run that recipe itself, with --set."
        raise RecipeError("extends cannot be set.", place=SET, key=key, hint=hint)
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


def _put(
    node: Node | None, parts: tuple[str | int, ...], value: Node, key: str, kind: Any, drops: bool
) -> Node:
    """Return the tree with one value set; missing nodes on the way are created."""
    if not parts:
        return value if node is None or not is_section(kind) else _merged(node, value, kind, drops)
    head, rest = parts[0], parts[1:]
    content = None if node is None else node.value
    if isinstance(head, int):
        if not isinstance(content, list | None):
            raise RecipeError(f"{key} is {quoted(content)}, not a list.", place=SET, key=key)
        items = list(content or [])
        if head > len(items):
            hint = f"Use {key}[{len(items)}] to add one."
            raise RecipeError(f"{key} has {len(items)} items.", place=SET, key=key, hint=hint)
        old = items[head] if head < len(items) else None
        items[head : head + 1] = [_put(old, rest, value, f"{key}[{head}]", item_of(kind), drops)]
        return _renewed(node, items, value)
    if isinstance(content, list):
        hint = f"Pick an item, as in {key}[0].{head}."
        raise RecipeError(f"{key} is a list.", place=SET, key=key, hint=hint)
    if not isinstance(content, dict | None):
        raise RecipeError(f"{key} is {quoted(content)}, and has no settings.", place=SET, key=key)
    known = _settings_of(kind, node)
    entries = dict(content or {})
    if drops and not rest:
        entries = _left(entries, {head: value}, kind, known)
    below = known[head].type if head in known else None
    child_key = f"{key}.{head}" if key else plain(head)
    entries[head] = _put(entries.get(head), rest, value, child_key, below, drops)
    return _renewed(node, entries, value)


def _renewed(node: Node | None, value: list[Node] | dict[str, Node], new: Node) -> Node:
    """Return a node at its old place; a new one gets the place of the new value."""
    return Node(value, new.origin, 0) if node is None else node.with_value(value)
