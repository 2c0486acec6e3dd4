"""The noise floor: items that flip on the base without any change to its weights, so that such flips mean nothing.

It is measured in batches of another size and order; and if another engine than the exact one writes the answers,
also against the exact one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from finetop.core.check.scoring.batches import Batch
from finetop.core.check.scoring_passes import Scoring, open_scoring, score_items
from finetop.core.check.statistics.item_order import Item
from finetop.core.protocol.check_result import NoiseFloor

if TYPE_CHECKING:
    from finetop.core.check.context import CheckContext

ITEMS = 128
ITEMS_CPU = 48  # under 10 s on two cores for a model of 135M parameters


def first_items(context: CheckContext, *, written: bool = False) -> tuple[Item, ...]:
    """Return the first items of the suite, or of those with written answers."""
    most = ITEMS_CPU if context.pair.device.startswith("cpu") else ITEMS
    prepared = context.prepared
    if not written:
        return prepared.items[:most]
    return tuple(item for item in prepared.items if prepared.tasks[item.task].kind == "generation")[:most]


def measure(context: CheckContext, base: Scoring, first: Sequence[Item]) -> NoiseFloor:
    """Score the first items in other batches, and the first written answers with the exact engine if another writes."""
    prepared, plan = base.prepared, base.scored_model.plan
    batches = tuple(
        Batch(name, tuple(item.item for item in reversed(first) if item.task == name))
        for name in prepared.tasks
    )
    mixed = replace(prepared, items=tuple(first), batches=tuple(batch for batch in batches if batch.items))
    other = replace(base.scored_model, plan=replace(plan, row_tokens=plan.row_tokens // 3))
    flips = _flips(context, base, open_scoring(context, mixed, other), first)
    if plan.engine == "exact":
        return NoiseFloor(len(first), flips)
    answers = first_items(context, written=True)
    exact = replace(base.scored_model, plan=replace(plan, engine="exact"))
    flipped = _flips(context, base, open_scoring(context, prepared, exact), answers)
    return NoiseFloor(len(first), flips, plan.engine, len(answers), flipped)


def _flips(context: CheckContext, base: Scoring, other: Scoring, items: Sequence[Item]) -> int:
    """Count the items that the base scores differently in the other batches; missing scores are computed."""
    score_items(context, base, items, "measuring base")
    score_items(context, other, items, "noise floor")
    return sum(base.scores[item.key].score != other.scores[item.key].score for item in items)
