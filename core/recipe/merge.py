"""Lays recipes over each other: a child over what it extends, and --set over both.

Sections merge, setting by setting; what a setting holds is replaced. Where that is otherwise, the setting itself says
so, by a Meta of core/recipe/schema.py: one_choice() for a section that is replaced whole, merged() for a mapping that
merges though it is no section; belongs_to(), instead_of() and yields_to() for settings that are dropped when another
one beside them is written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from finetop.core.errors import NotFound, RecipeError
from finetop.core.recipe.schema import Recipe
from finetop.core.recipe.strict_yaml import MAX_DEPTH, Node, Origin, parse
from finetop.core.recipe.validate import CHOICES, arms, extra, is_struct, item_of, struct_fields
from finetop.core.text import plain, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import msgspec

SET = "--set"
OWN = ("name", "about", "extends")  # not handed down by a parent
_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*|\[[0-9]{1,6}\])*", re.ASCII)
_PART = re.compile(r"[\w-]+", re.ASCII)


def merge_recipes(parent: Node, child: Node) -> Node:
    """Lay a recipe over the one it extends, whose name and what it extends are not handed down."""
    inherited = {key: node for key, node in parent.settings.items() if key not in OWN}
    return _merged(parent.with_value(inherited), child, Recipe)


def _merged(under: Node, over: Node, kind: Any, drops: bool = True) -> Node:
    """Lay one value over another; `kind` is the annotation of the setting, None where there is no such setting."""
    if not (isinstance(under.value, dict) and isinstance(over.value, dict) and merges(kind)):
        return over
    known = _settings_of(kind, over, under)
    entries = _left(under.value, over.value, kind, known) if drops else dict(under.value)
    for key, node in over.value.items():
        below = known[key].type if key in known else None
        entries[key] = _merged(entries[key], node, below, drops) if key in entries else node
    return over.with_value(entries)


def merges(kind: Any) -> bool:
    """Return whether a mapping in this setting merges with the one that it is laid over."""
    declared: bool | None = extra(kind).get("merges")
    return is_section(kind) if declared is None else declared


def is_section(kind: Any) -> bool:
    """Return whether a setting of this type may be a section: a mapping whose keys are settings."""
    return any(is_struct(arm) for arm in arms(kind))


def _settings_of(kind: Any, *nodes: Node | None) -> Mapping[str, msgspec.structs.FieldInfo]:
    """List the settings of a section; those of a method or an objective by the first name among the nodes."""
    for arm in arms(kind):
        if arm in CHOICES:
            default = arm(options=None).name
            name = next((found for node in nodes if (found := _entry(node, "name")) is not None), default)
            try:
                options = CHOICES[arm].load(name).options if isinstance(name, str) else None
            except NotFound:
                options = None
            return struct_fields(arm) | ({} if options is None else struct_fields(options))
        if is_struct(arm):
            return struct_fields(arm)
    return {}


def _entry(node: Node | None, key: str) -> object:
    held = None if node is None else node.settings.get(key)
    return None if held is None else held.value


def _left(
    under: Mapping[str, Node],
    over: Mapping[str, Node],
    kind: Any,
    known: Mapping[str, msgspec.structs.FieldInfo],
) -> dict[str, Node]:
    """Return what is left of a section when these settings are laid over it.

    A new method or objective drops the old one's options. Settings of one layer do not drop each other.
    """
    for arm in arms(kind):
        if arm in CHOICES and (name := over.get("name")) is not None:
            before = under["name"].value if "name" in under else arm(options=None).name
            if name.value is not None and name.value != before:
                return {}
    dropped = {
        key for key in known for head in over if key not in over and _drops(head, key, under, over, known)
    }
    return {key: node for key, node in under.items() if key not in dropped}


def _drops(
    head: str,
    key: str,
    under: Mapping[str, Node],
    over: Mapping[str, Node],
    known: Mapping[str, msgspec.structs.FieldInfo],
) -> bool:
    """Return whether writing the setting `head` drops the setting `key` beside it."""
    if head not in known or over[head].value is None:
        return False
    marks = extra(known[key].type)
    if marks.get("belongs_to") == head:
        return over[head].value != (under[head].value if head in under else known[head].default)
    either = marks.get("instead_of") == head or extra(known[head].type).get("instead_of") == key
    return either or marks.get("yields_to") == head


def apply_sets(recipe: Node, sets: Sequence[str], cwd: Path) -> Node:
    """Lay `--set train.epochs=3` or `--set data.train[0].path=x.jsonl` over a recipe.

    A whole section merges as one that a file writes; any other key is set to its value, and to that alone. Whether the
    settings exist is found by the validation, as for a file. Raises RecipeError.
    """
    parsed = [parse_set(text, Origin(SET, cwd)) for text in sets]
    for drops in (
        True,
        False,
    ):  # what one of them drops of the recipe, another may have set: these are one layer
        for parts, value in parsed:
            recipe = _put(recipe, parts, value, "", Recipe, drops)
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


def _put(
    node: Node | None, parts: tuple[str | int, ...], value: Node, key: str, kind: Any, drops: bool
) -> Node:
    """Return the tree with one value put in; what is missing on the way is made."""
    if not parts:
        return value if node is None or not is_section(kind) else _merged(node, value, kind, drops)
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
        old = items[head] if head < len(items) else None
        items[head : head + 1] = [_put(old, rest, value, f"{key}[{head}]", item_of(kind), drops)]
        return _renewed(node, items, value)
    if isinstance(inside, list):
        raise RecipeError(
            f"{key} is a list.", place=SET, key=key, hint=f"Pick an item, as in {key}[0].{head}."
        )
    if not isinstance(inside, dict | None):
        raise RecipeError(f"{key} is {quoted(inside)}, and has no settings.", place=SET, key=key)
    known = _settings_of(kind, node)
    entries = dict(inside or {})
    if drops and not rest:
        entries = _left(entries, {head: value}, kind, known)
    below = known[head].type if head in known else None
    child_key = f"{key}.{head}" if key else plain(head)
    entries[head] = _put(entries.get(head), rest, value, child_key, below, drops)
    return _renewed(node, entries, value)


def _renewed(node: Node | None, value: list[Node] | dict[str, Node], new: Node) -> Node:
    """Keep the place of what was there; what was made has the place of the new value."""
    return Node(value, new.origin, 0) if node is None else node.with_value(value)
