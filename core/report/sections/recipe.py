"""What differs from the built-in recipe, with the whole recipe collapsed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from finetop.core.recipe.dotted import flat_texts
from finetop.core.report import Block, Points, Source, Table
from finetop.core.report.load import RunFacts

TITLE = "Recipe"


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    """Return the differences from the built-in recipe, with the whole recipe collapsed."""
    detail = facts.detail
    blocks_found: list[Block] = []
    if facts.base is not None:
        head = ("setting", f"built-in {facts.base_name}", "this run")
        rows = tuple(_differences(facts.base, detail.recipe))
        blocks_found.append(Table(head, rows) if rows else Points((f"As the built-in {facts.base_name}.",)))
    whole = "\n".join(f"{key}: {value}" for key, value in flat_texts(detail.recipe).items())
    blocks_found.append(Source("All settings, defaults filled in", whole))
    if detail.recipe_source:
        blocks_found.append(Source("The recipe as it was written", detail.recipe_source))
    return tuple(blocks_found)


def _differences(base: dict[str, Any], recipe: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    usual, here = flat_texts(base), flat_texts(recipe)
    for key in dict.fromkeys([*here, *usual]):
        if key.split(".")[0] in ("recipe", "name", "about", "extends"):
            continue
        before, after = usual.get(key, "-"), here.get(key, "-")
        is_unset = {before, after} in ({"-", "null"}, {"-", "none"})
        if before != after and not is_unset:
            yield key, before, after
