"""What a model card says of forgetting: sentences and a table for a reader who knows nothing of finetop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from finetop.core.features.remedies.wording import own_verdict
from finetop.core.features.report.formats.markdown import block_text
from finetop.core.features.report.load import RunFacts
from finetop.core.features.report.page import Table
from finetop.core.features.report.sections.check import verdict
from finetop.core.protocol.check_result import LOWER_IS_BETTER, CheckResult, Mark, Metric, worst_first
from finetop.core.protocol.runs import RemedyRow
from finetop.core.text import counted
from finetop.core.wording.check_markdown import escape, span
from finetop.core.wording.units import metric_words
from finetop.core.wording.verdicts import (
    MARKS,
    NOT_CHECKED,
    change_of,
    interval,
    points,
    signed,
    task_cells,
    word,
)

MARKS_EXPLAINED: dict[Mark, str] = {
    "lost": "the ability fell, beyond chance",
    "kept": "a loss of the limit or more is ruled out",
    "open": "too few items to tell",
    "unmeasurable": "the base itself does not do better than guessing",
}
# What a target's metric is, for a reader who does not know its name
TARGETS: dict[Metric, str] = {
    "nats_per_token": "loss on held-out answers, in nats/token",
    "exact_match": "share of answers that match exactly",
    "token_f1": "words shared with the right answer (F1)",
    "rules": "share of answers that meet every rule below",
}
HEAD = ("", "task", "base", "tuned", "change", "interval", "lost", "won", "items")


def other_weights(facts: RunFacts) -> str:
    """Return the verdict of files that are not those that were checked."""
    outcome = facts.outcome
    of_others = "" if outcome is None else f" (its verdict: {word(outcome)})"
    return f"**{NOT_CHECKED}** The weights changed after the last check{of_others}, which says nothing of these files."


def checked(facts: RunFacts) -> Iterator[str]:
    """Yield the verdict of a check, how sure it is, and what each task lost or won."""
    name, _, sentence, _ = verdict(facts)
    yield f"**{escape(name)}** {escape(sentence)}"
    outcome = facts.outcome
    if outcome is None:
        return
    yield "\n".join(f"- {escape(line)}" for line in sentences(outcome))
    if outcome.tasks:
        rows = tuple(task_cells(task, outcome.margin) for task in worst_first(outcome))
        yield block_text(Table(HEAD, rows, right=(2, 3, 4, 6, 7, 8)))
        yield escape(legend(outcome))
    if rules := rules_of(facts.detail.recipe):
        yield f"An answer to the target's questions counts if it meets every rule: {', '.join(map(span, rules))}."


def sentences(outcome: CheckResult) -> Iterator[str]:
    """Yield what was asked, what the verdict means, and the target, in one plain sentence each."""
    suite = f" of the suite {outcome.suite}" if outcome.suite else ""
    asked = f"The tuned model and its base answered the same {counted(outcome.items_used, 'item')}{suite}"
    if outcome.items_used < outcome.items_total:
        asked += (
            f", of {outcome.items_total:,}: the comparison ended as soon as it was decided, so its scores are not"
            " benchmark scores"
        )
    yield f"{asked}."
    yield f"{meaning(outcome)}{confidence(outcome)}."
    if (decided := outcome.deciding_interval) is not None and decided[0] != decided[1]:
        yield f"The change over the whole suite lies between {' and '.join(_ends(decided, outcome.margin))} points."
    if outcome.items_used:
        yield (
            f"{counted(outcome.lost, 'answer')} right before and wrong now, {outcome.won:,} wrong before and right now."
        )
    power = next((entry for entry in outcome.power if entry.drop > outcome.margin), None)
    if power is not None and outcome.verdict == "ok" and outcome.low_power is None:
        often = f"{100 * power.chance:.0f} times of 100"
        yield f"A true loss of {100 * power.drop:g} points would have been noticed {often}."
    for metric, score in outcome.target.items():
        better = "lower" if metric in LOWER_IS_BETTER else "higher"
        values = f"{score.base:.2f} before, {score.tuned:.2f} after ({better} is better; {counted(score.rows, 'row')}"
        bounds = f"change {signed(score.low, 0.0, digits=2)} to {signed(score.high, 0.0, digits=2)} at 95 %"
        named = {str(key): words for key, words in TARGETS.items()}.get(metric, metric_words(metric))
        yield f"What it was trained for, {named}: {values}; {bounds})."
    if outcome.target_failed:
        yield f"What it was trained for could not be measured: {outcome.target_failed}"
    if outcome.drift is not None:
        drift = outcome.drift
        yield (
            f"Loss on general text: {drift.base:.3f} nats/token before, {drift.tuned:.3f} after (lower is better)."
        )
    if outcome.contamination.items:
        items = counted(outcome.contamination.items, "item")
        yield f"{items} of the suite also in the training data: left out."


def _ends(drops: tuple[float, float], margin: float) -> tuple[str, str]:
    low, _, high = interval(drops, margin).partition(" to ")
    return low, high


def meaning(outcome: CheckResult) -> str:
    """Return what the verdict says, in points of 100."""
    limit = points(outcome.margin)
    if outcome.verdict == "ok":
        return f"A loss of {limit} points (of 100) or more over the whole suite is ruled out"
    if outcome.verdict == "no_verdict":
        return f"Whether it lost {limit} points (of 100) or more can't be told"
    if outcome.decided_by == "task":
        return f"At least one task lost {limit} points (of 100) or more"
    return f"It lost {limit} points (of 100) or more over the whole suite"


def confidence(outcome: CheckResult) -> str:
    """Return how sure a verdict is: by chance at most, or because no other item can change it."""
    if outcome.verdict == "no_verdict":
        return ""
    if outcome.decided_by == "arithmetic":
        is_whole = outcome.items_used == outcome.items_total
        return ": every item was asked" if is_whole else ", whatever the items that were not asked would show"
    return f", with {100 * (1 - outcome.alpha):.4g} % confidence"


def legend(outcome: CheckResult) -> str:
    """Return what the table's marks and columns mean, of the marks that it has."""
    used = {task.mark for task in outcome.tasks}
    marks = [f"{MARKS[mark]} {text}" for mark, text in MARKS_EXPLAINED.items() if mark in used]
    columns = "base, tuned: share of right answers; change, interval: in points of 100; lost, won: answers"
    return f"{'; '.join(marks)}. Columns: {columns}."


def rules_of(recipe: dict[str, Any]) -> list[str]:
    """Return the rules that the target's answers are judged by: `max_words 20`, `json_object`."""
    rules = ((recipe.get("check") or {}).get("target") or {}).get("rules") or ()
    return [
        " ".join(str(part) for part in (rule["rule"], rule.get("value")) if part is not None)
        for rule in rules
    ]


def remedied(row: RemedyRow) -> Iterator[str]:
    """Yield a remedy's verdict, the tasks that lost most, and what it keeps of the training's gain."""
    name, sentence = own_verdict(row)
    yield f"**{name}** {sentence}."
    if row.worst:
        rows = tuple((task.task, change_of(task.drop)) for task in row.worst)
        yield block_text(Table(("task", "change, points"), rows, right=(1,)))
    if row.kept:
        kept = ", ".join(f"{metric_words(metric)} {100 * share:.0f} %" for metric, share in row.kept.items())
        yield escape(f"Of what training gained it keeps: {kept}.")
