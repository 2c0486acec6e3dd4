"""The comparison that a run belongs to: each approach's results and costs, and the advice."""

from __future__ import annotations

from finetop.core.features.approaches import columns, wording as approaches
from finetop.core.features.approaches.messages import ApproachesAnswer
from finetop.core.features.report.load import RunFacts
from finetop.core.features.report.page import Block, Facts, Points, Table
from finetop.core.wording.columns import known


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    comparison = facts.comparison
    if comparison is None:
        return ()
    name = comparison.name
    about = f"This run belongs to the comparison {name}: finetop report approaches/{name} shows all of it."
    return (Points((about,)), *tables(comparison), advice(comparison))


def tables(comparison: ApproachesAnswer) -> tuple[Block, ...]:
    """Return the tables of results and costs; approaches that are not measured are named below."""
    done = [row for row in comparison.rows if row.target is not None]
    blocks_made: list[Block] = []
    if done:
        blocks_made += [Table.of(known(table, done), done) for table in columns.tables(comparison)]
    if asides := approaches.notes_on_table(comparison):
        blocks_made.append(Points(tuple(asides)))
    return tuple(blocks_made)


def advice(comparison: ApproachesAnswer, without: str = "") -> Block:
    """Return the advice, without the topic that was shown before."""
    return Facts(tuple((piece.topic, piece.text) for piece in comparison.advice if piece.topic != without))
