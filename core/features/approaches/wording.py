"""Approaches in words: scores, prices and verdicts, and the notes below their tables."""

from __future__ import annotations

from finetop.core.features.approaches import messages as data
from finetop.core.features.approaches.messages import ApproachesAnswer, ApproachRow, Price
from finetop.core.protocol.check_result import Verdict
from finetop.core.text import clean_line, counted
from finetop.core.wording.columns import NOT_KNOWN
from finetop.core.wording.durations import exact_span
from finetop.core.wording.verdicts import SHORT_WORDS, change_of

WORST_FIRST: tuple[Verdict, ...] = ("regressed", "no_verdict", "ok")


def seconds(value: float | None) -> str:
    """Format a duration; `-` if unknown."""
    return NOT_KNOWN if value is None else exact_span(value)


def score(value: data.Score | None) -> str:
    """Format a mean with its interval."""
    if value is None:
        return NOT_KNOWN
    return f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]"


def retained(result: data.Retained | None) -> tuple[str, str]:
    """Return the change of the retained score, and the verdict in words."""
    if result is None:
        return NOT_KNOWN, "not checked"
    if result.same_weights:
        return "0.0", "same weights"
    change = NOT_KNOWN if result.drop is None else change_of(result.drop)
    worst = next((key for key in WORST_FIRST if key in result.verdicts), None)
    if worst is None:
        return change, ""
    count, total = result.verdicts.count(worst), len(result.verdicts)
    return change, f"{count}/{total} {SHORT_WORDS[worst]}" if count < total else SHORT_WORDS[worst]


BUSY = 0.2  # share of the machine's CPUs used by others above which a measured price is marked


def epochs(row: ApproachRow) -> str:
    """Return the number of epochs: '0.23'."""
    return NOT_KNOWN if row.epochs_seen is None else f"{round(row.epochs_seen, 2):g}"


def query_head(answer: ApproachesAnswer) -> str:
    """Return the head of the price column: 'CPU s a query'."""
    return f"{next((row.query.of for row in answer.rows if row.query is not None), 'CPU')} s a query"


def query(price: Price | None) -> str:
    """Format a query's price: the median of the rounds, the lowest and the highest; '!' on a busy machine."""
    if price is None:
        return NOT_KNOWN
    busy = "!" if is_busy(price) else ""
    digits = 0 if price.median >= 10 else 2 if price.median >= 0.1 else 4
    return f"{price.median:.{digits}f} [{price.low:.{digits}f}, {price.high:.{digits}f}]{busy}"


def is_busy(price: Price) -> bool:
    """Return True if other processes used the machine while this price was measured."""
    return price.others is not None and price.others >= BUSY


def notes_on_table(answer: ApproachesAnswer) -> list[str]:
    """Return why approaches are not measured, and how to read the table."""
    lines = []
    for row in answer.rows:
        if row.state != "measured":
            failed_run = next((run.name for run in row.runs if run.message and row.state == "failed"), "")
            why = f", {clean_line(row.message)}" if row.message else ""
            retry = f" (to retry: finetop retry {clean_line(failed_run)})" if failed_run else ""
            lines.append(f"{row.name}: {row.state}{why}{retry}")
    gaps = [gap for row in answer.rows for gap in (row.gap, row.news and row.news.gain) if gap]
    if any(gap.is_open for gap in gaps):
        same = "no proven difference (from the best, or from before)"
        lines.append(f"= {same}: the paired 95 % interval contains 0.")
    return [*lines, *_price_notes(answer)]


def _price_notes(answer: ApproachesAnswer) -> list[str]:
    """Return how prices were measured, and which of them on a busy machine."""
    prices = {row.name: row.query for row in answer.rows if row.query is not None}
    if not prices:
        return []
    first = next(iter(prices.values()))
    how = f"{first.of} seconds{' on one thread' if first.of == 'CPU' else ''}"
    lines = [
        f"{query_head(answer)}: median [least, most] of {counted(first.rounds, 'round')} over"
        f" {counted(first.queries, 'question')}, in {how}; costs whose ranges overlap don't differ."
    ]
    if busy := {name: price for name, price in prices.items() if is_busy(price)}:
        shares = [f"{name} ({100 * (price.others or 0.0):.0f} %)" for name, price in busy.items()]
        lines.append(f"! measured while other processes used the CPUs: {', '.join(shares)}.")
    return lines
