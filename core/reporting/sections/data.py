"""What a run was trained on: its sources, and the first row as the model sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.reporting import Block, Source, Table

if TYPE_CHECKING:
    from finetop.core.reporting.asking import Told

TITLE = "Data"


def blocks(told: Told) -> tuple[Block, ...]:
    detail = told.detail
    found: list[Block] = []
    if detail.data:
        rows = [
            (
                source.source,
                f"{source.rows:,}",
                f"{source.kept:,}",
                f"{source.dropped:,}",
                f"{source.truncated:,}",
                f"{source.longest_tokens:,}",
                f"{source.answer_tokens:,}",
            )
            for source in detail.data
        ]
        head = ("source", "rows", "kept", "dropped", "cut short", "longest, tokens", "learned tokens")
        found.append(Table(head, tuple(rows), right=(1, 2, 3, 4, 5, 6)))
    if detail.first_row:
        learned = "".join(f"«{text}»" if is_learned else text for text, is_learned in detail.first_row)
        found.append(Source("The first row as the model sees it; «what it learns»", learned))
    return tuple(found)
