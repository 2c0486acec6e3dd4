"""The items whose score changed between base and tuned model, as a check's result keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.check.statistics.paired_tests import count_categories
from finetop.core.protocol.check_result import Category, Flip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finetop.core.check.scoring.batches import PreparedSuite
    from finetop.core.check.statistics.item_order import Key
    from finetop.core.protocol.events import ItemScore

FLIPS_KEPT = 300
QUESTION_KEPT = 1000  # characters
CHOICES_KEPT, CHOICE_KEPT = 10, 200  # how many, and characters of each: 300 flips take 0.9 MB at most


def flips_of(
    prepared: PreparedSuite, base: Mapping[Key, ItemScore], tuned: Mapping[Key, ItemScore]
) -> tuple[Flip, ...]:
    """List the items that changed, lost ones first, the surest losses on top."""
    changed = [key for key in tuned if tuned[key].score != base[key].score]
    changed.sort(key=lambda key: (tuned[key].score - base[key].score, _margin(tuned[key]), key))
    flips = []
    for key in changed[:FLIPS_KEPT]:
        request = prepared.requests[key]
        flips.append(
            Flip(
                task=key[0],
                item=key[1],
                category=request.category,
                question=request.text[:QUESTION_KEPT],
                gold="" if request.gold is None else request.choices[request.gold],
                base=base[key].score,
                tuned=tuned[key].score,
                base_answer=base[key].answer,
                tuned_answer=tuned[key].answer,
                choices=tuple(choice[:CHOICE_KEPT] for choice in request.choices[:CHOICES_KEPT]),
            )
        )
    return tuple(flips)


def _margin(score: ItemScore) -> float:
    """Give how far the gold answer is ahead of the best other, in nats."""
    if score.gold_log_prob is None or score.best_other_log_prob is None:
        return 0.0
    return score.gold_log_prob - score.best_other_log_prob


def categories_of(
    prepared: PreparedSuite, base: Mapping[Key, ItemScore], tuned: Mapping[Key, ItemScore]
) -> tuple[Category, ...]:
    """Count lost and won items by task and category, most losses first."""
    return count_categories(
        (key[0], prepared.requests[key].category, base[key].score, score.score)
        for key, score in tuned.items()
    )
