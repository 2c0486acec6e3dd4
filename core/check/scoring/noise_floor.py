"""The noise floor: the base model against itself under another batch plan, on the first items of the permutation.

What flips here flips without any change to the weights; a difference of that size between two models means
nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.check.scoring.batches import Batch, PreparedSuite, ScoredModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finetop.core.check.statistics.item_order import Key
    from finetop.core.protocol.events import ItemScore

ITEMS = 128
ITEMS_CPU = 48  # keeps it under 10 s of two cores for a model of 135M parameters


def noise_suite(prepared: PreparedSuite, device: str) -> PreparedSuite:
    """Give the first items, cut into batches of other sizes and in the opposite order."""
    first = prepared.items[: ITEMS_CPU if device.startswith("cpu") else ITEMS]
    batches = tuple(
        Batch(name, tuple(item.item for item in reversed(first) if item.task == name))
        for name in prepared.tasks
    )
    return replace(prepared, items=first, batches=tuple(batch for batch in batches if batch.items))


def other_plan(scored_model: ScoredModel) -> ScoredModel:
    """Run the same model in rows of another length."""
    plan = scored_model.plan
    return replace(scored_model, plan=BatchPlan(plan.layout, plan.row_tokens // 3))


def flips(usual: Mapping[Key, ItemScore], other: Mapping[Key, ItemScore]) -> int:
    """Count the items whose score differs between the plans."""
    return sum(usual[key].score != score.score for key, score in other.items() if key in usual)
