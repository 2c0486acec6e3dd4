"""Triage of several machines at once: one table, and names with the machine."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from finetop.core.client.remote.fleet import Fleet
from finetop.core.client.remote.merge_runs import there
from finetop.core.errors import BadInput, NoSupervisor
from finetop.core.features.triage.merged_table import merged_table, placed_row
from finetop.core.features.triage.messages import (
    ItemAnswer,
    SetStanding,
    Triage,
    TriageAnswer,
    TriageRunAnswer,
)


async def table(fleet: Fleet, ask: Triage) -> TriageAnswer:
    """Merge the machines' triage tables; a machine that is out of reach is left out."""
    widened = replace(ask, offset=0, limit=ask.offset + ask.limit)
    asked = [fleet.askers[label].ask(widened) for label in fleet.labels]
    replies = await asyncio.gather(*asked, return_exceptions=True)
    answers: dict[str, TriageAnswer] = {}
    for label, answer in zip(fleet.labels, replies, strict=True):
        if isinstance(answer, TriageAnswer):
            answers[label] = answer
        elif isinstance(answer, BaseException) and not isinstance(answer, NoSupervisor):
            raise answer
    if not answers:
        raise NoSupervisor("no machine answers.")
    return merged_table(answers, fleet.labels, ask.offset, ask.limit)


def sent(fleet: Fleet, label: str, ask: SetStanding) -> SetStanding:
    """Return the request as its machine reads it: the run that fixes another goes by its name there."""
    if not ask.standing.fixed_by:
        return ask
    return replace(ask, standing=replace(ask.standing, fixed_by=_fix(fleet, ask.standing.fixed_by, label)))


def _fix(fleet: Fleet, run: str, label: str) -> str:
    """Return the name, on its machine, of the run that fixes another run of that machine. Raises BadInput."""
    place = there(run, fleet.labels)
    if place is not None and place[0] != label:
        raise BadInput(f"{run} is not on {label}: a fix is a run on the same machine.")
    return run if place is None else place[1]


def placed_run(fleet: Fleet, label: str, answer: TriageRunAnswer) -> TriageRunAnswer:
    return replace(answer, row=placed_row(answer.row, fleet.labels, label))


def placed_item(fleet: Fleet, label: str, answer: ItemAnswer) -> ItemAnswer:
    return replace(answer, also=[f"{label}:{run}" for run in answer.also])


ASKS = {Triage: table}
SENT = {SetStanding: sent}
NAMED = {TriageRunAnswer: placed_run, ItemAnswer: placed_item}
