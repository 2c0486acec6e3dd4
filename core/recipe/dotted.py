"""Settings of a recipe by dotted key, as in `train.batch_size`: listed, written as text, laid over a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Value = TypeVar("Value")


def item_key(key: str, at: int) -> str:
    """Return the key of a list's item, as --set takes it."""
    return f"{key}[{at}]"


def flat_settings(
    tree: Any, key: str = "", of_item: Callable[[str, int], str] | None = item_key
) -> Iterator[tuple[str, Any]]:
    """List settings and their values, in the recipe's order; an empty section is a value too.

    A list of sections is one section per item, which `of_item` names by the list's key and its place; None leaves such
    a list whole.
    """
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            yield from flat_settings(value, f"{key}.{name}" if key else str(name), of_item)
    elif of_item is not None and isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        for at, item in enumerate(tree):
            yield from flat_settings(item, of_item(key, at), of_item)
    else:
        yield key, tree


def flat_texts(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Write every setting of a recipe as text, in its order."""
    return {key: _text(value) for key, value in flat_settings(recipe)}


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value == {} else str(value)


def place_of(key: str, places: Mapping[str, str], whole: str) -> str:
    """Return where a setting was written, or the nearest section around it; `whole` where neither was."""
    entry = nearest(places, key)
    return whole if entry is None else entry[1]


def with_settings(recipe: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved recipe with settings laid over it."""
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))
    for key, value in settings.items():
        place = made
        *above, last = key.split(".")
        for part in above:
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
        place[last] = value
    return made


def nearest(table: Mapping[str, Value], key: str) -> tuple[str, Value] | None:
    """Find the entry of a setting, or of the nearest section around it that has one."""
    while key and key not in table:
        key = key.rpartition(".")[0]
    return (key, table[key]) if key else None
