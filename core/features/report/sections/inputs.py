"""The sections of a report about what went in: the data and its versions, and the recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from finetop.core.features.data_versions import columns
from finetop.core.features.report.load import RunFacts
from finetop.core.features.report.page import Block, Points, Source, Table
from finetop.core.recipe.dotted import flat_texts


def data(facts: RunFacts) -> tuple[Block, ...]:
    detail = facts.detail
    blocks_found: list[Block] = []
    if detail.data:
        rows = []
        for source in detail.data:
            used = source.kept if source.used is None else source.used
            counts = (source.rows, source.kept, used, source.dropped, source.truncated)
            tokens = (source.longest_tokens, source.answer_tokens)
            rows.append((source.source, *(f"{number:,}" for number in (*counts, *tokens))))
        head = ("source", "rows", "kept", "used", "dropped", "truncated", "longest, tokens", "learned tokens")
        blocks_found.append(Table(head, tuple(rows), right=(1, 2, 3, 4, 5, 6, 7)))
    blocks_found += _versions(facts)
    if detail.first_row:
        learned = "".join(f"«{text}»" if is_learned else text for text, is_learned in detail.first_row)
        blocks_found.append(Source("The first row as the model sees it; «what it learns»", learned))
    return tuple(blocks_found)


def _versions(run_facts: RunFacts) -> list[Block]:
    """Return the version of each source that was read, and what lint found in it."""
    if not run_facts.detail.sources:
        return []
    tables: list[Block] = [Table.of(columns.READ_BY_RUN, run_facts.read)]
    found = [
        (facts, finding)
        for facts in run_facts.read
        if facts.now is not None and facts.now.lint is not None
        for finding in facts.now.lint.findings
    ]
    return [*tables, Table.of(columns.FOUND_BY_LINT, found)] if found else tables


def recipe(facts: RunFacts) -> tuple[Block, ...]:
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
