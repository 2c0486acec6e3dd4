"""Settings of a recipe by dotted key, as in `train.batch_size`: list, write as text, override, compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from finetop.core.errors import BadInput
from finetop.core.text import float_words, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Value = TypeVar("Value")

# By the longest key that a setting begins with: why it can't change once a run has begun; see schema.fixed, too.
FIXED = {
    "recipe": "it is the version of the format",
    "name": "a run keeps its name",
    "model": "the run started from it",
    "method": "the trained weights are in the checkpoint",
    "objective.name": "the run has trained on it",
    "objective.teacher": "the run has trained on it",
    "protect": "it depends on the weights that the run started with",
}
# By the longest key: what a change does; see schema.on_change, too. Others change nothing of what is learned.
EFFECTS = {
    "objective": "the loss changes from here on",
    "data": "the rows change from here on",
    "trainer_args": "applies from here on",
    "check.general": "earlier checks used other settings",
    "data.train": "changed rows are refused without --anyway",
}


def item_key(key: str, at: int) -> str:
    """Return the key of a list's item, as in --set."""
    return f"{key}[{at}]"


def flat_settings(
    tree: Any, key: str = "", of_item: Callable[[str, int], str] | None = item_key
) -> Iterator[tuple[str, Any]]:
    """Yield settings and their values, in the recipe's order; an empty section counts as a value.

    A list of sections is one section per item, named by `of_item` from the list's key and the index; None keeps such a
    list whole.
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
    """Return every setting of a recipe as text, in its order."""
    return {key: _text(value) for key, value in flat_settings(recipe)}


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return float_words(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value == {} else str(value)


def place_of(key: str, places: Mapping[str, str], whole: str) -> str:
    """Return where a setting was written, or the nearest section around it; `whole` if neither was."""
    entry = nearest(places, key)
    return whole if entry is None else entry[1]


def with_settings(recipe: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a resolved recipe with these settings."""
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))
    for key, value in settings.items():
        place = copy
        *parents, last = key.split(".")
        for part in parents:
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
        place[last] = value
    return copy


def nearest(table: Mapping[str, Value], key: str) -> tuple[str, Value] | None:
    """Return the entry of a setting, or of the nearest section around it that has one."""
    while key and key not in table:
        key = key.rpartition(".")[0]
    return (key, table[key]) if key else None


@dataclass(frozen=True)
class Change:
    """A setting that differs from the run's recipe, and the effect."""

    key: str
    old: Any
    new: Any
    does: str

    def __str__(self) -> str:
        text = f"{self.key}: {quoted(self.old)} -> {quoted(self.new)}"
        return f"{text} {self.does}" if self.does else text


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Compare two resolved recipes. Raises BadInput for a change that can't be made during a run."""
    from finetop.core.recipe.schema import Recipe

    found_changes = []
    fixed, done = FIXED | dict(_marks(Recipe, "fixed")), EFFECTS | dict(_marks(Recipe, "on_change"))
    for key, before, after in _differences(old, new, ""):
        why, does = nearest(fixed, key), nearest(done, key)
        if why is not None and (does is None or len(does[0]) < len(why[0])):
            message = f"{key} can't change from {quoted(before)} to {quoted(after)}: {why[1]}."
            raise BadInput(message, hint="Keep it, or queue a new run.")
        found_changes.append(Change(key, before, after, "" if does is None else does[1]))
    return found_changes


def _marks(section: type[msgspec.Struct], mark: str, above: str = "") -> Iterator[tuple[str, str]]:
    """List the settings that have a mark of schema.py, each with its text."""
    for field in msgspec.structs.fields(section):
        key = f"{above}{field.encode_name}"
        for meta in getattr(field.type, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.extra and mark in meta.extra:
                yield key, meta.extra[mark]
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _marks(field.type, mark, f"{key}.")


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], above: str
) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(old.keys() | new.keys()):
        key = f"{above}.{name}" if above else name
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, key)
        elif before != after:
            yield key, before, after
