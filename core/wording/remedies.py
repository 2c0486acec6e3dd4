"""Remedies in words: each one's result, which is best, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Literal

from finetop.core.protocol.messages.remedies import RemediesAnswer
from finetop.core.protocol.runs import RemedyRow, Running
from finetop.core.text import clean_line, counted
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import metric_words
from finetop.core.wording.verdicts import SHORT_WORDS, change_of, interval_of

WORDS = {
    "ok": SHORT_WORDS["ok"],
    "regressed": SHORT_WORDS["regressed"],
    "no_verdict": "open",
    "failed": "failed",
    "unchanged": "nothing to do",
}
BEST, CONFIRMED = "☆", "★"
LITTLE = 0.5  # share of the gain: a remedy that keeps less gives up most of what was learned


@dataclass(frozen=True, slots=True)
class Next:
    """The next step for a run that forgot: with which remedy or retraining, and why."""

    do: Literal["export", "confirm", "try", "retrain", "nothing"]
    name: str = ""
    why: str = ""


def lettered(rows: Sequence[RemedyRow]) -> list[tuple[str, RemedyRow]]:
    """Pair each remedy with its letter, by its place."""
    return list(zip(ascii_lowercase, rows, strict=False))


def is_trying(found: RemediesAnswer, row: RemedyRow) -> bool:
    """Return True if the running job is trying this remedy now."""
    job = found.job
    if not isinstance(job, Running) or row.name not in found.trying:
        return False
    return job.phase.startswith((f"{row.label}:", f"confirming {row.label}:"))


def waits(found: RemediesAnswer, row: RemedyRow) -> bool:
    """Return True if a job under way will try this remedy."""
    return found.is_under_way and row.name in found.trying and not row.verdict


def star(found: RemediesAnswer, row: RemedyRow) -> str:
    """Return the mark of the best remedy so far, or of the best confirmed one."""
    if row.name != found.best:
        return ""
    return CONFIRMED if row.confirmation == "ok" else BEST


def cells(found: RemediesAnswer, row: RemedyRow) -> tuple[str, str, str, str]:
    """Return target, kept gain, retained score and verdict as cells."""
    if not row.target and row.drop is None:
        return "", "", "", how(found, row)
    share = f"{gain(row)} {metric_words(gain_metric(row))}".rstrip()
    return target(found, row), share, retained(row, found.margin), verdict(row)


def how(found: RemediesAnswer, row: RemedyRow) -> str:
    """Return the status of a remedy without numbers."""
    if row.why_not:
        return "not available"
    if row.verdict:
        return verdict(row)
    return "queued" if waits(found, row) else "not tried"


def asides(found: RemediesAnswer) -> list[str]:
    """Return why remedies are not available, failed or change nothing, one line each."""
    return [
        f"{letter} {row.label}: {clean_line(row.why_not or row.reason, limit=200)}"
        for letter, row in lettered(found.rows)
        if row.why_not or row.verdict in ("failed", "unchanged")
    ]


def target(found: RemediesAnswer, row: RemedyRow) -> str:
    """Format a remedy's score on the target."""
    value = row.target.get(found.metric)
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


def has_several(found: RemediesAnswer) -> bool:
    """Return True if tuning gained in several metrics of the target: the one that keeps least counts."""
    return found.now is not None and len(found.now.kept) > 1


def kept_words(row: RemedyRow) -> str:
    """Return how much of the gain is kept: by the worst of several metrics, and the ones that keep more."""
    if row.gain is None:
        return ""
    worst = gain_metric(row)
    more = [
        f"{metric_words(metric)} {100 * share:.0f}%"
        for metric, share in row.kept.items()
        if metric != worst and share > row.gain + 0.1
    ]
    by = f" by {metric_words(worst)}" if worst and (more or len(row.kept) == 1) else ""
    others = f" ({', '.join(more)})" if more else ""
    return f"keeps {'only ' if keeps_little(row) else ''}{gain(row)} of the gain{by}{others} and "


def keeps_little(row: RemedyRow) -> bool:
    """Return True if a remedy gives up most of what was learned."""
    return row.gain is not None and row.gain < LITTLE


def next_step(found: RemediesAnswer) -> Next:
    """Return the recommended step: export a confirmed remedy that keeps most of the gain, or what leads there.

    An unconfirmed remedy is confirmed first. One that gives up most of what was learned comes last: after one that
    keeps more, after untried ones, and after retraining. If half of them were tried and none is ok, or all tried so
    far failed, retraining comes before the others.
    """
    row = next((one for one in found.rows if one.name == found.best), None)
    untried = len(left(found))
    again = next((one.name for one in found.retrainings if not one.why_not), "")
    if row is None:
        tried = [one for one in found.rows if one.verdict]
        have_failed = bool(tried) and all(one.verdict == "failed" for one in tried)
        if untried and not (again and (have_failed or len(tried) >= untried)):
            return Next("try")
        why = "none of these is proven ok" if tried else "no remedy works without training"
        if have_failed:
            why = f"all {len(tried)} tried so far failed" if len(tried) > 1 else f"{tried[0].label} failed"
        return Next("retrain", again, why) if again else Next("nothing", why=why)
    if (better := _better(found, row)) is not None:
        return Next("confirm", better.name, f"keeps {gain(better)} of the gain, not confirmed yet")
    if keeps_little(row):
        why = f"{row.label} keeps only {gain(row)} of the gain"
        if untried:
            return Next("try", why=why)
        if again:
            return Next("retrain", again, why)
    if row.confirmation == "ok":
        return Next("export", row.name, f"keeps only {gain(row)} of the gain" if keeps_little(row) else "")
    if row.confirmation == "no_items":
        why = f"{row.label} can't be confirmed on this suite: no fresh items left"
        return Next("retrain", again, why) if again else Next("nothing", why=why)
    return Next("confirm", row.name, "not confirmed yet")


def left(found: RemediesAnswer) -> list[str]:
    """Return the available remedies that were not tried."""
    return [one.name for one in found.rows if not one.why_not and not one.verdict]


def _better(found: RemediesAnswer, best: RemedyRow) -> RemedyRow | None:
    """Return a remedy that keeps more than the confirmed best and only needs to be confirmed, or None."""
    open_ones = [one for one in found.rows if one.verdict == "ok" and not one.confirmation]
    kept = [(one.gain, one) for one in open_ones if one.gain is not None and one.gain > (best.gain or 0.0)]
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


def now(found: RemediesAnswer) -> str:
    """Return the run's own scores, before any remedy."""
    row = found.now
    if row is None:
        return f"limit {found.margin:.1f}"
    reached = f"{metric_words(found.metric)} {target(found, row)}, " if found.metric else ""
    lost = f"{moved(row, found.margin)} {verdict(row)}, limit {found.margin:.1f}"
    return f"now, {measured_by(found, row)}: {reached}retained {lost}"


def measured_by(found: RemediesAnswer, row: RemedyRow) -> str:
    """Return what the run's own scores were measured on: the newest check's items, or the selection items."""
    if found.now_by == "choosing":
        return f"on the {counted(row.items_used, 'selection item')}"
    return f"by its newest check ({row.items_used:,} of {counted(row.items_total, 'item')})"


def best(found: RemediesAnswer) -> list[str]:
    """Return the best remedy, and whether it is confirmed on items that did not select it; empty if there is none."""
    letters = {row.name: letter for letter, row in lettered(found.rows)}
    row = next((one for one in found.rows if one.name == found.best), None)
    lines = [
        f"{letters[one.name]} was not confirmed: {change_of(one.fresh_drop or 0.0)} on {one.fresh_used:,} fresh items"
        for one in found.rows
        if one.confirmation in ("regressed", "no_verdict")
    ]
    if row is None:
        tried = [one for one in found.rows if one.verdict not in ("", "failed", "unchanged")]
        if tried and not found.is_under_way and not lines:
            lines.append(f"none of {len(tried)} is proven to lose less than {found.margin:.1f} points")
        return lines
    head = f"{star(found, row)} {letters[row.name]} {kept_words(row)}"
    if row.confirmation == "ok":
        lost = row.fresh_drop or 0.0
        moved = f"forgets {lost:.1f}" if round(lost, 1) > 0 else "forgets nothing"
        return [*lines, f"{head}{moved}. Confirmed on {row.fresh_used:,} fresh items: ✓ ok"]
    why = {"no_items": "not confirmed: no fresh items left"}.get(row.confirmation, "not confirmed yet")
    return [*lines, f"{head}is the best so far, {why}"]


def price(found: RemediesAnswer) -> str:
    """Return about how long trying all untried remedies takes; empty if unknown."""
    count = len(left(found))
    if found.price_s is None or not count:
        return ""
    took = long_span(count * found.price_s + found.confirming_s)
    return f": about {took}, no retraining"
