"""What a check's result tells beside its verdict: drift, the items that changed, and which were scored later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from finetop.core.check.model_pair import as_tuned
from finetop.core.check.scoring import drift
from finetop.core.protocol.check_result import Drift, Flip

if TYPE_CHECKING:
    from finetop.core.check.context import CheckContext
    from finetop.core.check.scoring.batches import PreparedSuite
    from finetop.core.check.statistics.item_order import Key
    from finetop.core.protocol.events import ItemScore

FLIPS_KEPT = 300
QUESTION_KEPT = 1000  # characters
CHOICES_KEPT, CHOICE_KEPT = 10, 200  # count, and characters of each: 300 flips take at most 0.9 MB


def drift_of(context: CheckContext, base: Sequence[ItemScore], tuned: Sequence[ItemScore]) -> Drift | None:
    """Measure drift on the suite's text from its windows' scores; None if the suite has no text."""
    if not context.windows:
        return None
    kl = None
    if context.pair.is_adapter:
        with as_tuned(context.pair) as model:
            kl = drift.divergence(model, model.disable_adapter, context.windows)
    return Drift(
        base=drift.nats_per_token(context.windows, base),
        tuned=drift.nats_per_token(context.windows, tuned),
        tokens=sum(len(window) - 1 for window in context.windows),
        kl=kl,
    )


def notes_on(more: Sequence[str] | None) -> list[str]:
    """Return what the result notes on items that were scored after the answer was proven."""
    if more is None:
        return []
    what = f"of {', '.join(more)}" if more else "of the suite"
    return [f"every item {what} was scored, even after the answer was proven: the same claim, on more items."]


def flips_of(
    prepared: PreparedSuite, base: Mapping[Key, ItemScore], tuned: Mapping[Key, ItemScore]
) -> tuple[Flip, ...]:
    """List the items that changed, lost ones first, the clearest losses on top."""
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
    """Return how far the gold answer is ahead of the best other answer, in nats."""
    if score.gold_log_prob is None or score.best_other_log_prob is None:
        return 0.0
    return score.gold_log_prob - score.best_other_log_prob
