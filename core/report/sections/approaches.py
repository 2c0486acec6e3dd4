"""The comparison that a run belongs to: each approach's results and costs, and the advice."""

from __future__ import annotations

from finetop.core.protocol.messages.approaches import ApproachesAnswer
from finetop.core.report import Block, Facts, Points, Table
from finetop.core.report.load import Told
from finetop.core.wording import approaches

TITLE = "Approaches"


def blocks(told: Told) -> tuple[Block, ...]:
    found = told.comparison
    if found is None:
        return ()
    about = f"This run belongs to the comparison {found.name}: finetop report approaches/{found.name} shows all of it."
    return (Points((about,)), *tables(found), advice(found))


def tables(found: ApproachesAnswer) -> tuple[Block, ...]:
    """Return the tables of results and costs; approaches that are not measured are named below."""
    done = [row for row in found.rows if row.target is not None]
    made: list[Block] = []
    if done:
        head = approaches.head(found)
        made.append(Table(head, tuple(approaches.cells(row) for row in done), right=(1, 2, 3, 4)))
        prices = tuple(approaches.prices(row) for row in done)
        made.append(Table(approaches.PRICE_HEAD, prices, right=(1, 2, 3, 4, 7)))
        saw = tuple(approaches.seen(row) for row in done)
        made.append(Table(approaches.seen_head(found), saw, right=(1, 2, 3, 4)))
    if asides := approaches.asides(found):
        made.append(Points(tuple(asides)))
    return tuple(made)


def advice(found: ApproachesAnswer, without: str = "") -> Block:
    """Return the advice, without the topic that was shown before."""
    return Facts(tuple((one.topic, one.text) for one in found.advice if one.topic != without))
