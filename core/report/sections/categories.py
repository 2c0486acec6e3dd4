"""Which kinds of items changed: the categories that lost most."""

from __future__ import annotations

from finetop.core.report import Block, Table
from finetop.core.report.load import RunFacts

TITLE = "Categories"
CATEGORIES_SHOWN = 30


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    outcome = facts.outcome
    if outcome is None:
        return ()
    worst = sorted(
        outcome.categories,
        key=lambda category: (category.won - category.lost, -category.n, category.task, category.category),
    )
    rows = [
        (category.task, category.category, str(category.n), str(category.lost), str(category.won))
        for category in worst
    ]
    if not rows:
        return ()
    more = len(rows) - CATEGORIES_SHOWN
    left_out = f"and {more} more, which lost less" if more > 0 else ""
    head = ("task", "category", "items", "lost", "won")
    return (Table(head, tuple(rows[:CATEGORIES_SHOWN]), right=(2, 3, 4), more=left_out),)
