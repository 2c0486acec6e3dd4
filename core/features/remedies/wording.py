"""Remedies in words: each one's result, which is best, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Literal

from finetop.core.features.remedies.messages import RemediesAnswer
from finetop.core.protocol.runs import RemedyRow, Running
from finetop.core.text import clean_line, counted
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import metric_words
from finetop.core.wording.verdicts import (
    NOT_CHECKED,
    SHORT_WORDS,
    WORDS as VERDICT_WORDS,
    change_of,
    interval_of,
)

WORDS = {str(verdict): text for verdict, text in SHORT_WORDS.items()}
WORDS |= {"no_verdict": "open", "failed": "failed", "unchanged": "nothing to do"}
BEST, CONFIRMED = "☆", "★"
LITTLE_GAIN = 0.5  # share of the gain: a remedy that keeps less gives up most of what was learned


@dataclass(frozen=True, slots=True)
class Next:
    """The next step for a run that forgot: with which remedy or retraining, and why."""

    do: Literal["check", "export", "confirm", "try", "retrain", "nothing"]
    name: str = ""
    why: str = ""


def lettered(rows: Sequence[RemedyRow]) -> list[tuple[str, RemedyRow]]:
    """Pair each remedy with its letter, by its place."""
    return list(zip(ascii_lowercase, rows, strict=False))


def is_trying(answer: RemediesAnswer, row: RemedyRow) -> bool:
    """Return True if the running job is trying this remedy now."""
    job, begins = answer.job, (f"{row.label}:", f"confirming {row.label}:")
    return isinstance(job, Running) and row.name in answer.trying and job.phase.startswith(begins)


def waits(answer: RemediesAnswer, row: RemedyRow) -> bool:
    """Return True if a job under way will try this remedy."""
    return answer.is_under_way and row.name in answer.trying and not row.verdict


def star(answer: RemediesAnswer, row: RemedyRow) -> str:
    """Return the mark of the best remedy so far, or of the best confirmed one."""
    if row.name != answer.best:
        return ""
    return CONFIRMED if row.confirmation == "ok" else BEST


def how(answer: RemediesAnswer, row: RemedyRow) -> str:
    """Return the status of a remedy without numbers."""
    if row.why_not:
        return "not available"
    if row.verdict:
        return verdict(row)
    return "queued" if waits(answer, row) else untried(row)


def tried_on_others(name: str, of: str) -> str:
    """Return that a remedy's result is of other weights than a checkpoint has now."""
    return f"{name} was tried on other weights than {of} has now."


def untried(row: RemedyRow) -> str:
    """Return that a remedy has no result of the weights that there are now."""
    return "not tried" if row.weights_now == "same" else "tried on other weights"


def reasons(answer: RemediesAnswer) -> list[str]:
    """Return why remedies are not available, failed or change nothing, one line each."""
    return [
        f"{letter}, {row.label}: {clean_line(row.why_not or row.reason, limit=200)}"
        for letter, row in lettered(answer.rows)
        if row.why_not or row.verdict in ("failed", "unchanged")
    ]


def target(answer: RemediesAnswer, row: RemedyRow) -> str:
    """Format a remedy's score on the target."""
    value = row.target.get(answer.metric)
    return "-" if value is None else f"{value:.2f}"


def gain(row: RemedyRow) -> str:
    """Format the share of the gain that is kept, by the metric that keeps least."""
    return "-" if row.gain is None else f"{100 * row.gain:.0f}%"


def least(row: RemedyRow) -> str:
    """Return the metric that keeps least of the gain; empty if there is only one."""
    return min(row.kept, key=lambda metric: row.kept[metric]) if len(row.kept) > 1 else ""


def gain_metric(row: RemedyRow) -> str:
    """Return the metric that the kept gain refers to; empty if the target has only one."""
    return min(row.kept, key=lambda metric: row.kept[metric]) if row.kept and len(row.target) > 1 else ""


def has_several(answer: RemediesAnswer) -> bool:
    """Return True if tuning gained in several metrics of the target: the one that keeps least counts."""
    return answer.now is not None and len(answer.now.kept) > 1


def kept_words(row: RemedyRow) -> str:
    """Return how much of the gain is kept: by the worst of several metrics, and the ones that keep more."""
    if row.gain is None:
        return ""
    worst, much = gain_metric(row), row.gain + 0.1
    others = {metric: share for metric, share in row.kept.items() if metric != worst and share > much}
    more = [f"{metric_words(metric)} {100 * share:.0f}%" for metric, share in others.items()]
    by = f" by {metric_words(worst)}" if worst and (more or len(row.kept) == 1) else ""
    brackets = f" ({', '.join(more)})" if more else ""
    return f"keeps {'only ' if keeps_little(row) else ''}{gain(row)} of the gain{by}{brackets} and "


def keeps_little(row: RemedyRow) -> bool:
    """Return True if a remedy gives up most of what was learned."""
    return row.gain is not None and row.gain < LITTLE_GAIN


def next_step(answer: RemediesAnswer) -> Next:
    """Return the recommended step: export a confirmed remedy that keeps most of the gain, or what leads there.

    An unconfirmed remedy is confirmed first. One that gives up most of what was learned comes last: after one that
    keeps more, after untried ones, and after retraining. If half of them were tried and none is ok, or all tried so
    far failed, retraining comes before the others.
    """
    if answer.weights_now != "same":
        return Next("check", why="its weights changed since they were checked")
    row = next((row for row in answer.rows if row.name == answer.best), None)
    untried_count = len(left(answer))
    retraining = next((row.name for row in answer.retrainings if not row.why_not), "")
    if row is None:
        tried = [row for row in answer.rows if row.verdict]
        have_failed = bool(tried) and all(row.verdict == "failed" for row in tried)
        if untried_count and not (retraining and (have_failed or len(tried) >= untried_count)):
            return Next("try")
        why = "none of these is proven ok" if tried else "no remedy works without training"
        if have_failed:
            why = f"all {len(tried)} tried so far failed" if len(tried) > 1 else f"{tried[0].label} failed"
        return Next("retrain", retraining, why) if retraining else Next("nothing", why=why)
    if (better := _better(answer, row)) is not None:
        return Next("confirm", better.name, f"keeps {gain(better)} of the gain, not confirmed yet")
    if keeps_little(row):
        why = f"{row.label} keeps only {gain(row)} of the gain"
        if untried_count:
            return Next("try", why=why)
        if retraining:
            return Next("retrain", retraining, why)
    if row.confirmation == "ok":
        return Next("export", row.name, f"keeps only {gain(row)} of the gain" if keeps_little(row) else "")
    if row.confirmation == "no_items":
        why = f"{row.label} can't be confirmed on this suite: no fresh items left"
        return Next("retrain", retraining, why) if retraining else Next("nothing", why=why)
    return Next("confirm", row.name, "not confirmed yet")


def left(answer: RemediesAnswer) -> list[str]:
    """Return the available remedies that were not tried."""
    return [row.name for row in answer.rows if not row.why_not and not row.verdict]


def _better(answer: RemediesAnswer, best: RemedyRow) -> RemedyRow | None:
    """Return a remedy that keeps more than the confirmed best and only needs to be confirmed, or None."""
    open_ones = [row for row in answer.rows if row.verdict == "ok" and not row.confirmation]
    kept = [(row.gain, row) for row in open_ones if row.gain is not None and row.gain > (best.gain or 0.0)]
    return max(kept, key=lambda pair: pair[0])[1] if kept and best.confirmation == "ok" else None


def moved(row: RemedyRow, margin: float) -> str:
    """Format the change of the retained score: '-9.1'; with the task if it alone decides: '-1.5, arith -22.0'."""
    if row.drop is None:
        return "-"
    task = next((task for task in row.worst if task.mark == "lost"), None)
    if row.verdict == "regressed" and row.drop < margin and task is not None:
        return f"{change_of(row.drop)}, {clean_line(task.task)} {change_of(task.drop)}"
    return change_of(row.drop, margin)


def retained(row: RemedyRow, margin: float) -> str:
    """Format the change of the retained score with the interval that decides: '-9.1 (-14.0 to -4.2)'."""
    return moved(row, margin) + in_brackets(row.decided, margin)


def in_brackets(drops: tuple[float, float] | None, margin: float) -> str:
    return "" if drops is None else f" ({interval_of(drops, margin)})"


def verdict(row: RemedyRow) -> str:
    """Return a remedy's verdict; on the selection items it is not a claim."""
    return WORDS.get(row.verdict, "")


def own_verdict(row: RemedyRow) -> tuple[str, str]:
    """Return the verdict on a remedy's model and what it is based on: confirmed on other items than chose it, if so."""
    is_confirmed = row.fresh_drop is not None
    lost, bounds = (row.fresh_drop, row.fresh_interval) if is_confirmed else (row.drop, row.interval)
    standing = row.confirmation if is_confirmed else row.verdict
    if lost is None or standing not in VERDICT_WORDS:
        return NOT_CHECKED, "this model was changed after training and not compared with its base"
    where = f"on {row.items_used:,} of {row.items_total:,} items, not confirmed on others"
    if is_confirmed:
        where = f"confirmed on {row.fresh_used:,} of {row.fresh_total:,} further items"
    change = f"{change_of(lost)} points against the base"
    return VERDICT_WORDS[standing], f"{change}{in_brackets(bounds, 0.0)}, {where}"


def regression_of(name: str, row: RemedyRow) -> str:
    """Return that a remedy's model regressed or was not checked, for who gets its files; empty if neither."""
    word, sentence = own_verdict(row)
    return f"{name} is {word}: {sentence}." if word in (NOT_CHECKED, VERDICT_WORDS["regressed"]) else ""


def now(answer: RemediesAnswer) -> str:
    """Return the run's own scores, before any remedy."""
    row = answer.now
    if row is None:
        return f"limit {answer.margin:.1f}"
    target_text = f"{metric_words(answer.metric)} {target(answer, row)}, " if answer.metric else ""
    lost = f"{moved(row, answer.margin)} {verdict(row)}, limit {answer.margin:.1f}"
    return f"now, {measured_by(answer, row)}: {target_text}retained {lost}"


def measured_by(answer: RemediesAnswer, row: RemedyRow) -> str:
    """Return what the run's own scores were measured on: the newest check's items, or the selection items."""
    if answer.now_by == "choosing":
        return f"on the {counted(row.items_used, 'selection item')}"
    return f"by its newest check ({row.items_used:,} of {counted(row.items_total, 'item')})"


def best(answer: RemediesAnswer) -> list[str]:
    """Return the best remedy, and whether it is confirmed on items that did not select it; empty if there is none."""
    letters = {row.name: letter for letter, row in lettered(answer.rows)}
    row = next((row for row in answer.rows if row.name == answer.best), None)
    lines = []
    for refuted in [row for row in answer.rows if row.confirmation in ("regressed", "no_verdict")]:
        change = f"{change_of(refuted.fresh_drop or 0.0)} on {refuted.fresh_used:,} fresh items"
        lines.append(f"{letters[refuted.name]} was not confirmed: {change}")
    if row is None:
        tried = [row for row in answer.rows if row.verdict not in ("", "failed", "unchanged")]
        if tried and not answer.is_under_way and not lines:
            lines.append(f"none of {len(tried)} is proven to lose less than {answer.margin:.1f} points")
        return lines
    head = f"{star(answer, row)} {letters[row.name]} {kept_words(row)}"
    if row.confirmation == "ok":
        lost = row.fresh_drop or 0.0
        moved = f"forgets {lost:.1f}" if round(lost, 1) > 0 else "forgets nothing"
        return [*lines, f"{head}{moved}. Confirmed on {row.fresh_used:,} fresh items: ✓ ok"]
    why = {"no_items": "not confirmed: no fresh items left"}.get(row.confirmation, "not confirmed yet")
    return [*lines, f"{head}is the best so far, {why}"]


def price(answer: RemediesAnswer) -> str:
    """Return about how long trying all untried remedies takes; empty if unknown."""
    count = len(left(answer))
    if answer.price_s is None or not count:
        return ""
    duration = long_span(count * answer.price_s + answer.confirming_s)
    return f": about {duration}, no retraining"
