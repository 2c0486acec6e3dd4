"""What the supervisor answers about regressions, and what it keeps of how people see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.protocol.messages.triage import (
    CellAnswer,
    ItemAnswer,
    LookAtCell,
    LookAtItem,
    LostItems,
    LostItemsAnswer,
    SetStanding,
    SetStandingAnswer,
    Triage,
    TriageAnswer,
    TriageRun,
    TriageRunAnswer,
)
from finetop.core.store import flipped_items, runs, triage
from finetop.core.store.database import transaction

if TYPE_CHECKING:
    from finetop.core.supervisor.state import Supervisor

PAGE_LIMIT = 500
ITEM_LIMIT = 1000


def page(supervisor: Supervisor, ask: Triage) -> TriageAnswer:
    return triage.page(
        supervisor.connection,
        text=ask.filter,
        offset=max(0, ask.offset),
        limit=max(1, min(ask.limit, PAGE_LIMIT)),
        revision=supervisor.revision,
    )


def turned(supervisor: Supervisor, ask: TriageRun) -> TriageRunAnswer:
    return triage.turned(supervisor.connection, *runs.find_run(supervisor.connection, ask.run))


def cell(supervisor: Supervisor, ask: LookAtCell) -> CellAnswer:
    found = runs.find_run(supervisor.connection, ask.run)
    return flipped_items.cell(supervisor.connection, *found, ask.task, max(0, min(ask.items, 100)))


def items(supervisor: Supervisor, ask: LostItems) -> LostItemsAnswer:
    found = runs.find_run(supervisor.connection, ask.run)
    limit = max(1, min(ask.limit, ITEM_LIMIT))
    bounded = LostItems(
        ask.run, ask.task, ask.kind, ask.only, ask.margin, ask.runs, ask.text, max(0, ask.offset), limit
    )
    return flipped_items.listed(supervisor.connection, *found, bounded)


def item(supervisor: Supervisor, ask: LookAtItem) -> ItemAnswer:
    found = runs.find_run(supervisor.connection, ask.run)
    return flipped_items.one(supervisor.connection, *found, ask.task, ask.item)


def say(supervisor: Supervisor, ask: SetStanding) -> SetStandingAnswer:
    """Keep how a regression is seen. Raises what `triage.say` raises."""
    run_id, name = runs.find_run(supervisor.connection, ask.run)
    with transaction(supervisor.connection):
        answer = triage.say(supervisor.connection, run_id, name, ask)
    supervisor.touch([run_id])
    return answer


ANSWERS = {
    Triage: page,
    TriageRun: turned,
    LookAtCell: cell,
    LostItems: items,
    LookAtItem: item,
    SetStanding: say,
}
