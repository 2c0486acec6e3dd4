"""Approaches in words, the same in the app and on the command line: the cells of their table, and the advice."""

from __future__ import annotations

from finetop.core.protocol.check_result import Verdict
from finetop.core.protocol.messages.approaches import ApproachesAnswer, ApproachRow, News, Retained, Score
from finetop.core.text import clean_line
from finetop.core.wording.durations import exact_span
from finetop.core.wording.units import gib, metric_words
from finetop.core.wording.verdicts import SHORT_WORDS, change_of

NOT_KNOWN = "-"
WORST_FIRST: tuple[Verdict, ...] = ("regressed", "no_verdict", "ok")


def seconds(value: float | None) -> str:
    """Write a length of time as far as it is known."""
    return NOT_KNOWN if value is None else exact_span(value)


def head(found: ApproachesAnswer) -> tuple[str, ...]:
    """Name the columns of how well they do."""
    return (
        "approach",
        metric_words(found.metric),
        "seeds",
        "to the best",
        "retained",
        "forgot?",
    )


def cells(row: ApproachRow) -> tuple[str, ...]:
    """Say of an approach how well it does."""
    if row.target is None:
        return (row.name, NOT_KNOWN, "", "", "", "")
    gap = "best" if row.is_best else NOT_KNOWN
    if row.gap is not None:
        gap = (
            f"{_signed(row.gap.mean)} ±{(row.gap.high - row.gap.low) / 2:.2f}{'=' if row.gap.is_open else ''}"
        )
    spread = NOT_KNOWN if row.target.spread is None else f"±{row.target.spread:.2f}"
    return (row.name, score(row.target), spread, gap, *retained(row.retained))


def _signed(value: float) -> str:
    """Write a difference; what rounds to nothing has no sign."""
    return "0.00" if abs(value) < 0.005 else f"{value:+.2f}"


def score(found: Score | None) -> str:
    """Write a mean with its interval."""
    if found is None:
        return NOT_KNOWN
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def retained(found: Retained | None) -> tuple[str, str]:
    """Say what became of what the base could, and the verdicts."""
    if found is None:
        return NOT_KNOWN, "not checked"
    if found.same_weights:
        return "0.0", "same weights"
    change = NOT_KNOWN if found.drop is None else change_of(found.drop)
    worst = next((key for key in WORST_FIRST if key in found.verdicts), None)
    if worst is None:
        return change, ""
    count, total = found.verdicts.count(worst), len(found.verdicts)
    words = SHORT_WORDS[worst]
    if count < total:
        words = f"{count}/{total} {words}"
    return change, words


PRICE_HEAD = ("approach", "set-up", "GPU", "prompt", "a query", "memory", "new facts", "by", "in")


def prices(row: ApproachRow) -> tuple[str, ...]:
    """Say of an approach what it costs, and how it takes new facts."""
    memory = NOT_KNOWN if row.memory_gib is None else f"{gib(row.memory_gib)} GiB"
    return (
        row.name,
        seconds(row.setup_s),
        gpu(row),
        NOT_KNOWN if row.prompt_tokens is None else f"{row.prompt_tokens:,.0f} tok",
        NOT_KNOWN if row.latency_s is None else exact_span(row.latency_s),
        memory,
        *news(row.news),
    )


def gpu(row: ApproachRow) -> str:
    """Write GPU time, and energy where the GPU told its power."""
    if row.gpu_s is None:
        return NOT_KNOWN
    return seconds(row.gpu_s) + ("" if row.energy_wh is None else f" {row.energy_wh:.1f} Wh")


def news(found: News | None) -> tuple[str, str, str]:
    """Say what became of the score on new facts, by what, and how long that took."""
    if found is None or found.before is None:
        return NOT_KNOWN, "", ""
    if found.after is None:
        return f"{found.before.mean:.2f}, can't", "", ""
    by = {"index": "indexing", "train": "training"}.get(found.how, "")
    is_open = "=" if found.gain is not None and found.gain.is_open else ""
    return f"{found.before.mean:.2f} to {found.after.mean:.2f}{is_open}", by, seconds(found.seconds)


def asides(found: ApproachesAnswer) -> list[str]:
    """Say of each approach that is not measured why, and of the table how it is read."""
    lines = []
    for row in found.rows:
        if row.state != "measured":
            again = next((run.name for run in row.runs if run.said and row.state == "failed"), "")
            lines.append(
                f"{row.name}: {row.state}{f', {clean_line(row.said)}' if row.said else ''}"
                f"{f' (try again: finetop retry {clean_line(again)})' if again else ''}"
            )
    gaps = [gap for row in found.rows for gap in (row.gap, row.news and row.news.gain) if gap]
    if any(gap.is_open for gap in gaps):
        lines.append(
            "= no proven difference from the best, or from before: the paired 95 % interval contains 0."
        )
    return lines
