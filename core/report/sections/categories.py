"""Which kinds of items changed: the categories that lost most."""

from __future__ import annotations

from finetop.core.protocol.check_result import Category
from finetop.core.report import Block, Table
from finetop.core.report.load import RunFacts

TITLE = "Categories"
CATEGORIES_SHOWN = 30


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    outcome = facts.outcome
    if outcome is None:
        return ()

    def place(kind: Category) -> tuple[int, int, str, str]:
        return kind.won - kind.lost, -kind.n, kind.task, kind.category

    kinds = sorted(outcome.categories, key=place)
    rows = [(kind.task, kind.category, str(kind.n), str(kind.lost), str(kind.won)) for kind in kinds]
    if not rows:
        return ()
    more = len(rows) - CATEGORIES_SHOWN
    left_out = f"and {more} more, which lost less" if more > 0 else ""
    head = ("task", "category", "items", "lost", "won")
    return (Table(head, tuple(rows[:CATEGORIES_SHOWN]), right=(2, 3, 4), more=left_out),)
