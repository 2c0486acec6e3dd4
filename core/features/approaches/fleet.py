"""Comparisons of approaches on several machines at once: names with the machine."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from finetop.core.client.remote.fleet import Fleet
from finetop.core.features.approaches.messages import (
    Approaches,
    ApproachesAnswer,
    SubmitApproaches,
    SubmitApproachesAnswer,
)


async def comparisons(fleet: Fleet, ask: Approaches) -> ApproachesAnswer:
    """Return a comparison of one machine, or the names of all comparisons on the machines that answer."""
    if ask.comparison:
        label, name = fleet.split(ask.comparison)
        return _placed(label, await fleet.askers[label].ask(Approaches(name)))
    answers = await fleet.answers(ask)
    briefs = [brief for answer in answers for brief in _placed(*answer).comparisons]
    return ApproachesAnswer(sorted(briefs, key=lambda brief: -brief.created))


def _placed(label: str, answer: ApproachesAnswer) -> ApproachesAnswer:
    """Prefix the names of a machine's comparisons and their runs: lab:tone."""

    def named(brief: Any) -> Any:
        return replace(brief, name=f"{label}:{brief.name}")

    own = [named(brief) for brief in answer.comparisons]
    rows = [replace(row, runs=[named(run) for run in row.runs]) for row in answer.rows]
    name = f"{label}:{answer.name}" if answer.name else ""
    return replace(answer, comparisons=own, name=name, rows=rows)


def named(fleet: Fleet, label: str, answer: SubmitApproachesAnswer) -> SubmitApproachesAnswer:
    """Prefix the name of a comparison that was queued with its machine."""
    return replace(answer, comparison=f"{label}:{answer.comparison}")


ASKS = {Approaches: comparisons, SubmitApproaches: Fleet.submit}
NAMED = {SubmitApproachesAnswer: named}
