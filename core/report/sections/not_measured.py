"""What was not measured: its absence from the page does not mean that it is fine."""

from __future__ import annotations

from collections.abc import Iterable

from finetop.core.report import Block, Points
from finetop.core.report.load import RunFacts
from finetop.core.wording.verdicts import standing

TITLE = "Not measured"


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    return (Points(tuple(_lines(facts))),)


def _lines(facts: RunFacts) -> Iterable[str]:
    outcome, detail = facts.outcome, facts.detail
    if outcome is None:
        yield f"Forgetting: there is no check of this run. finetop check {detail.row.name} makes one."
    else:
        yield from (task.reason for task in outcome.tasks if task.reason)
        if left := outcome.items_total - outcome.items_used:
            yield f"{left:,} of the suite's {outcome.items_total:,} items: the verdict did not need them."
        undecided = [task.task for task in outcome.tasks if task.mark == "open"]
        if undecided:
            yield f"Tasks without a verdict of their own: {', '.join(undecided)}."
        yield f"Abilities that the suite {outcome.suite or 'of this check'} has no task for."
        if outcome.watch:
            yield f"The check is an intermediate one{standing(outcome)}."
        if outcome.noise_floor is None or not outcome.noise_floor.items:
            yield "The noise floor: how often the base differs from itself in other batches."
        if outcome.target_failed:
            yield f"The target: {outcome.target_failed}"
        elif not outcome.target:
            yield "The target: no score measures the training goal before and after."
        if outcome.drift is None:
            yield "Drift on general text at the end."
    if "eval_loss" not in facts.curves:
        yield "Loss on held-out rows of the training data."
    if len({check.step for check in detail.checks}) < 2:
        yield "Checkpoints other than the one that was checked." if detail.checks else "Any checkpoint."
    if (seed := (detail.recipe.get("train") or {}).get("seed")) is not None:
        yield f"Other seeds than {seed}: training with another seed may end elsewhere."
