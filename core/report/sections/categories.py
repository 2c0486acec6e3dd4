"""Which kinds of items changed: the categories that lost most."""

from __future__ import annotations

from finetop.core.report import Block, Table
from finetop.core.report.load import Told

TITLE = "Categories"
CATEGORIES_SHOWN = 30


def blocks(told: Told) -> tuple[Block, ...]:
    outcome = told.outcome
    if outcome is None:
        return ()
    worst = sorted(outcome.categories, key=lambda one: (one.won - one.lost, -one.n, one.task, one.category))
    rows = [(one.task, one.category, str(one.n), str(one.lost), str(one.won)) for one in worst]
    if not rows:
        return ()
    more = len(rows) - CATEGORIES_SHOWN
    left_out = f"and {more} more, which lost less" if more > 0 else ""
    head = ("task", "category", "items", "lost", "won")
    return (Table(head, tuple(rows[:CATEGORIES_SHOWN]), right=(2, 3, 4), more=left_out),)
