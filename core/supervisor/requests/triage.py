"""What the supervisor answers about regressions, and what it keeps of how people see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core import protocol
from finetop.core.store import flipped_items, runs, triage
from finetop.core.store.database import transaction

if TYPE_CHECKING:
    from finetop.core.supervisor.state import Supervisor

PAGE_LIMIT = 500
ITEM_LIMIT = 1000


def page(supervisor: Supervisor, ask: protocol.Triage) -> protocol.TriageAnswer:
    return triage.page(
        supervisor.connection,
        text=ask.filter,
        offset=max(0, ask.offset),
        limit=max(1, min(ask.limit, PAGE_LIMIT)),
        revision=supervisor.revision,
    )


def turned(supervisor: Supervisor, ask: protocol.TriageRun) -> protocol.TriageRunAnswer:
    return triage.turned(supervisor.connection, *runs.find_run(supervisor.connection, ask.run))


def cell(supervisor: Supervisor, ask: protocol.LookAtCell) -> protocol.CellAnswer:
    found = runs.find_run(supervisor.connection, ask.run)
    return flipped_items.cell(supervisor.connection, *found, ask.task, max(0, min(ask.items, 100)))


def items(supervisor: Supervisor, ask: protocol.LostItems) -> protocol.LostItemsAnswer:
    found = runs.find_run(supervisor.connection, ask.run)
    limit = max(1, min(ask.limit, ITEM_LIMIT))
    bounded = protocol.LostItems(
        ask.run, ask.task, ask.kind, ask.only, ask.margin, ask.runs, ask.text, max(0, ask.offset), limit
    )
    return flipped_items.listed(supervisor.connection, *found, bounded)


def item(supervisor: Supervisor, ask: protocol.LookAtItem) -> protocol.ItemAnswer:
    found = runs.find_run(supervisor.connection, ask.run)
    return flipped_items.one(supervisor.connection, *found, ask.task, ask.item)


def say(supervisor: Supervisor, ask: protocol.SetStanding) -> protocol.SetStandingAnswer:
    """Keep how a regression is seen. Raises what `triage.say` raises."""
    run_id, name = runs.find_run(supervisor.connection, ask.run)
    with transaction(supervisor.connection):
        answer = triage.say(supervisor.connection, run_id, name, ask)
    supervisor.touch([run_id])
    return answer


ANSWERS = {
    protocol.Triage: page,
    protocol.TriageRun: turned,
    protocol.LookAtCell: cell,
    protocol.LostItems: items,
    protocol.LookAtItem: item,
    protocol.SetStanding: say,
}
