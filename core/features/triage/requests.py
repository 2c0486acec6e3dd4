"""Triage requests: regressions, read from the store, and the states that users assign to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import Refused
from finetop.core.features.triage import flipped_items_sql as flipped_items, messages, sql as triage
from finetop.core.protocol.runs import Now
from finetop.core.runtime import secrets
from finetop.core.store import runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.queue import checks
from finetop.core.supervisor.requests import bisect
from finetop.core.supervisor.state import Supervisor
from finetop.core.wording.verdicts import outdated


def page(supervisor: Supervisor, ask: messages.Triage) -> messages.TriageAnswer:
    return triage.page(supervisor.connection, ask, supervisor.revision)


async def judge(supervisor: Supervisor, ask: messages.SetStanding) -> messages.SetStandingAnswer:
    """Set the state of a regression. Raises Refused to accept one of other weights than there are now, and as below."""
    _, name = runs.find_run(supervisor.connection, ask.run)
    is_accepting = ask.standing.state == "accepted" and not ask.standing.at
    if is_accepting and (now := await _weights_now(supervisor, ask.run)) == "changed":
        raise Refused(outdated(name, now), hint="Check it first.")
    return set_standing(supervisor, ask)


def set_standing(supervisor: Supervisor, ask: messages.SetStanding) -> messages.SetStandingAnswer:
    """Set the state of a regression. Raises BadInput, and as `triage.set_standing`."""
    text = f"{ask.standing.reason}\n{ask.standing.note}"
    secrets.require_none(text, "the reason", hint="It is shown to all who see the run: leave it out.")
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    with transaction(supervisor.connection):
        answer = triage.set_standing(supervisor.connection, ask)
    supervisor.touch([run_id])
    return answer


async def cell(supervisor: Supervisor, ask: messages.LookAtCell) -> messages.CellAnswer:
    answer = flipped_items.cell(supervisor.connection, ask)
    steps, now = await bisect.searchable(supervisor, ask.run), await _weights_now(supervisor, ask.run)
    return msgspec.structs.replace(answer, not_looked_at=steps, weights_now=now)


async def run_detail(supervisor: Supervisor, ask: messages.TriageRun) -> messages.TriageRunAnswer:
    answer = triage.run_detail(supervisor.connection, ask)
    steps, now = await bisect.searchable(supervisor, ask.run), await _weights_now(supervisor, ask.run)
    return msgspec.structs.replace(answer, not_looked_at=steps, weights_now=now)


async def lost_items(supervisor: Supervisor, ask: messages.LostItems) -> messages.LostItemsAnswer:
    answer = flipped_items.list_lost(supervisor.connection, ask)
    return msgspec.structs.replace(answer, weights_now=await _weights_now(supervisor, ask.run))


async def _weights_now(supervisor: Supervisor, run: str) -> Now:
    """Return what became of the weights of the check that a run is known by."""
    known = triage.known_check(supervisor.connection, run)
    return (await checks.weights_now(supervisor, known.run_id)).get(known.id, "same")


def _of_store(read: Callable[[Connection, Any], Any]) -> Callable[[Supervisor, Any], Any]:
    return lambda supervisor, ask: read(supervisor.connection, ask)


ANSWERS: dict[Any, Callable[[Supervisor, Any], Any]] = {
    messages.Triage: page,
    messages.TriageRun: run_detail,
    messages.LookAtCell: cell,
    messages.LostItems: lost_items,
    messages.LookAtItem: _of_store(flipped_items.item_detail),
    messages.SetStanding: judge,
}
