"""Approaches in words, the same in the app and on the command line: the cells of their table, and the advice."""

from __future__ import annotations

from finetop.core.protocol.check_result import Verdict
from finetop.core.protocol.messages.approaches import (
    ApproachesAnswer,
    ApproachRow,
    News,
    Price,
    Retained,
    Score,
)
from finetop.core.text import clean_line, counted
from finetop.core.wording.durations import exact_span
from finetop.core.wording.units import gib, metric_words, plus_minus
from finetop.core.wording.verdicts import SHORT_WORDS, change_of

NOT_KNOWN = "-"
WORST_FIRST: tuple[Verdict, ...] = ("regressed", "no_verdict", "ok")


def seconds(value: float | None) -> str:
    """Write a length of time as far as it is known."""
    return NOT_KNOWN if value is None else exact_span(value)


def head(found: ApproachesAnswer) -> tuple[str, ...]:
    """Name the columns of how well they do."""
    return ("approach", metric_words(found.metric), "seeds", "vs best", "retained", "forgot?")


def cells(row: ApproachRow) -> tuple[str, ...]:
    """Say of an approach how well it does."""
    if row.target is None:
        return (row.name, NOT_KNOWN, "", "", "", "")
    gap = "best" if row.is_best else NOT_KNOWN
    if row.gap is not None:
        mean, half = plus_minus(row.gap.mean, (row.gap.high - row.gap.low) / 2, 2)
        gap = f"{'+' if float(mean) > 0 else ''}{mean} ±{half}{'=' if row.gap.is_open else ''}"
    spread = NOT_KNOWN if row.target.spread is None else f"±{row.target.spread:.2f}"
    return (row.name, score(row.target), spread, gap, *retained(row.retained))


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


PRICE_HEAD = ("approach", "set-up", "GPU", "prompt", "memory", "new facts", "by", "in")
BUSY = 0.2  # of the machine's CPUs, used by others: a price that was measured meanwhile says so


def prices(row: ApproachRow) -> tuple[str, ...]:
    """Say of an approach what it costs, and how it takes new facts."""
    memory = NOT_KNOWN if row.memory_gib is None else f"{gib(row.memory_gib)} GiB"
    return (
        row.name,
        seconds(row.setup_s),
        gpu(row),
        NOT_KNOWN if row.prompt_tokens is None else f"{row.prompt_tokens:,.0f} tok",
        memory,
        *news(row.news),
    )


def seen_head(found: ApproachesAnswer) -> tuple[str, ...]:
    """Name the columns of what each approach saw, and of what a query costs."""
    return "approach", "rows seen", "epochs", "loss", query_head(found)


def seen(row: ApproachRow) -> tuple[str, ...]:
    """Write how much an approach read, what became of its loss, and what a query costs."""
    loss = NOT_KNOWN if row.losses is None else f"{row.losses[0]:.2f} to {row.losses[1]:.2f}"
    return row.name, rows_seen(row), epochs(row), loss, query(row.query)


def rows_seen(row: ApproachRow) -> str:
    """Write how many rows it read, of how many: '16 of 70'; or the examples before each question."""
    if row.rows_seen is None:
        return NOT_KNOWN
    if not row.trains:
        return f"{counted(row.rows_seen, 'example')}" if row.rows_seen else "0"
    return f"{row.rows_seen:,}" if row.rows_given is None else f"{row.rows_seen:,} of {row.rows_given:,}"


def epochs(row: ApproachRow) -> str:
    """Write how often it read them: '0.23'."""
    return NOT_KNOWN if row.epochs_seen is None else f"{round(row.epochs_seen, 2):g}"


def query_head(found: ApproachesAnswer) -> str:
    """Name the column of what a query costs: 'CPU s a query'."""
    return f"{next((row.query.of for row in found.rows if row.query is not None), 'CPU')} s a query"


def query(found: Price | None) -> str:
    """Write what a query costs: the median of the rounds, the cheapest and the dearest; '!' on a busy machine."""
    if found is None:
        return NOT_KNOWN
    busy = "!" if is_busy(found) else ""
    digits = 0 if found.median >= 10 else 2 if found.median >= 0.1 else 4
    return f"{found.median:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]{busy}"


def is_busy(found: Price) -> bool:
    """Return True if other processes used the machine while this price was measured."""
    return found.others is not None and found.others >= BUSY


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
                f"{f' (to retry: finetop retry {clean_line(again)})' if again else ''}"
            )
    gaps = [gap for row in found.rows for gap in (row.gap, row.news and row.news.gain) if gap]
    if any(gap.is_open for gap in gaps):
        lines.append(
            "= no proven difference (from the best, or from before): the paired 95 % interval contains 0."
        )
    return [*lines, *_of_prices(found)]


def _of_prices(found: ApproachesAnswer) -> list[str]:
    """Return how prices were measured, and which of them while others used the machine."""
    prices = {row.name: row.query for row in found.rows if row.query is not None}
    if not prices:
        return []
    first = next(iter(prices.values()))
    how = f"{first.of} seconds{' on one thread' if first.of == 'CPU' else ''}"
    lines = [
        f"{query_head(found)}: median [least, most] of {counted(first.rounds, 'round')} over"
        f" {counted(first.queries, 'question')}, in {how}; costs whose ranges overlap don't differ."
    ]
    if busy := {name: one for name, one in prices.items() if is_busy(one)}:
        each = ", ".join(f"{name} ({100 * (one.others or 0.0):.0f} %)" for name, one in busy.items())
        lines.append(f"! measured while other processes used the CPUs: {each}.")
    return lines
