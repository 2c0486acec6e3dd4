"""Puts a check's result together as plain data.

The verdict's numbers, and what flipped, by item and by category.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.protocol.check_result import FORMAT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finetop.core.check.scoring.batches import Exam
    from finetop.core.check.scoring.target import Paired
    from finetop.core.check.statistics.item_order import Key
    from finetop.core.check.statistics.verdict import CheckResult
    from finetop.core.protocol.events import ItemScore

FLIPS_KEPT = 300
QUESTION_KEPT = 1000  # characters
CHOICES_KEPT, CHOICE_KEPT = 10, 200  # how many, and characters of each: 300 flips take 0.9 MB at most


def assemble(
    result: CheckResult,
    *,
    suite: str,
    exam: Exam,
    excluded: Sequence[Key],
    notes: Sequence[str],
    base: Mapping[Key, ItemScore],
    tuned: Mapping[Key, ItemScore],
    target: Mapping[str, Paired],
    drift: Mapping[str, Any] | None,
    noise_floor: Mapping[str, int],
    models: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Give the whole result, as result.read takes it. `tuned` holds the items that the check has seen."""
    plain: dict[str, Any] = msgspec.to_builtins(result)
    return {
        **plain,
        "format": FORMAT,
        "suite": suite,
        "target": msgspec.to_builtins(dict(target)),
        "drift": drift,
        "noise_floor": dict(noise_floor),
        "contamination": {"items": len(excluded), "by_task": dict(Counter(task for task, _ in excluded))},
        "notes": list(notes),
        "flips": _flips(exam, base, tuned),
        "categories": _categories(exam, base, tuned),
        "models": {name: dict(facts) for name, facts in models.items()},
    }


def _flips(exam: Exam, base: Mapping[Key, ItemScore], tuned: Mapping[Key, ItemScore]) -> list[dict[str, Any]]:
    """List the items that changed, lost ones first, the surest losses on top."""
    changed = [key for key in tuned if tuned[key].score != base[key].score]
    changed.sort(key=lambda key: (tuned[key].score - base[key].score, _margin(tuned[key]), key))
    flips = []
    for key in changed[:FLIPS_KEPT]:
        question = exam.questions[key]
        flips.append(
            {
                "task": key[0],
                "item": key[1],
                "category": question.category,
                "question": question.text[:QUESTION_KEPT],
                "gold": "" if question.gold is None else question.choices[question.gold],
                "base": base[key].score,
                "tuned": tuned[key].score,
                "base_answer": base[key].answer,
                "tuned_answer": tuned[key].answer,
                "choices": [choice[:CHOICE_KEPT] for choice in question.choices[:CHOICES_KEPT]],
            }
        )
    return flips


def _margin(score: ItemScore) -> float:
    """Give how far the gold answer is ahead of the best other, in nats."""
    if score.gold_log_prob is None or score.best_other_log_prob is None:
        return 0.0
    return score.gold_log_prob - score.best_other_log_prob


def _categories(
    exam: Exam, base: Mapping[Key, ItemScore], tuned: Mapping[Key, ItemScore]
) -> list[dict[str, Any]]:
    """Count lost and won items by task and category, most losses first."""
    seen: Counter[tuple[str, str]] = Counter()
    lost: Counter[tuple[str, str]] = Counter()
    won: Counter[tuple[str, str]] = Counter()
    for key, score in tuned.items():
        group = (key[0], exam.questions[key].category)
        seen[group] += 1
        lost[group] += score.score < base[key].score
        won[group] += score.score > base[key].score
    order = sorted(seen, key=lambda group: (-lost[group], group))
    return [
        {
            "task": task,
            "category": category,
            "n": seen[task, category],
            "lost": lost[task, category],
            "won": won[task, category],
        }
        for task, category in order
    ]
