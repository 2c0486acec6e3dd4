"""Show a recipe as it will run, as YAML: each setting with its source."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from finetop.core.recipe.fields import fields
from finetop.core.recipe.find import BUILTIN, by_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from finetop.core.recipe.load import Loaded

DEFAULT = "default"
Setting = tuple[str, Any, str]  # dotted key, value, source


def settings_of(loaded: Loaded) -> list[Setting]:
    """Return each setting of a recipe with value and source: `faq.yaml:5`, `extends lora`, `--set` or `default`."""
    recipe = loaded.recipe
    known = {field.key for field in fields(recipe.method.name, recipe.objective.name)}
    return [
        (key, value, _source(loaded, key))
        for key, value in _leaves(by_name(loaded.resolved), "", known)
        if key != "extends"  # the recipe it extends is merged in already
    ]


def _leaves(value: Any, key: str, known: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield a resolved recipe's settings; a mapping or list that is the value of one setting stays whole."""
    plain_key = re.sub(r"\[\d+\]", "[]", key)
    below = any(name.startswith((f"{plain_key}.", f"{plain_key}[")) for name in known)
    if isinstance(value, dict) and (not key or below):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else name, known)
    elif isinstance(value, list) and below and value:
        for at, inner in enumerate(value):
            yield from _leaves(inner, f"{key}[{at}]", known)
    else:
        yield key, value


def _source(loaded: Loaded, key: str) -> str:
    place = loaded.places.get(key)
    if place is None:
        return DEFAULT
    label = re.sub(r":\d+$", "", place)
    if label.startswith(BUILTIN) and label != loaded.chain[0]:
        return f"extends {label.removeprefix(BUILTIN).removesuffix('.yaml')}"
    return place


def as_yaml(settings: list[Setting]) -> Iterator[str]:
    """Yield settings as the lines of a recipe, each with its source as a comment."""
    tree: dict[str, Any] = {}
    for key, value, source in settings:
        *above, last = re.findall(r"[^.\[\]]+", key)
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = (value, source)
    lists = {re.sub(r"\[\d+\].*", "", key) for key, _, _ in settings if "[" in key}
    yield from _block(tree, "", "", lists)


def _block(tree: Mapping[str, Any], key: str, indent: str, lists: set[str]) -> Iterator[str]:
    for name, content in tree.items():
        child = f"{key}.{name}" if key else name
        if isinstance(content, tuple):
            yield f"{indent}{name}: {_inline(content[0])}  # {content[1]}"
        elif child in lists:
            yield f"{indent}{name}:"
            for at, item in content.items():
                first, *rest = _block(item, f"{child}[{at}]", f"{indent}    ", lists)
                yield f"{indent}  - {first.lstrip()}"
                yield from rest
        else:
            yield f"{indent}{name}:"
            yield from _block(content, child, f"{indent}  ", lists)


def _inline(value: Any) -> str:
    """Return a value as one line of YAML."""
    import yaml

    text: str = yaml.safe_dump([value], default_flow_style=True, width=10**9, allow_unicode=True)
    return text.strip()[1:-1]
