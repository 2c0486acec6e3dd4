"""What stands above the table of triage, and what is said where there is nothing to triage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.text import clean_line
from finetop.core.wording.triage import counts_line, standing_words
from finetop.tui.line import Line, spread
from finetop.tui.text import count, counted, cut_middle, long_span

if TYPE_CHECKING:
    from finetop.core.protocol.messages.triage import TriageAnswer, TriageRow
    from finetop.tui.screens.triage.state import Triaged


def state_line(held: Triaged, width: int, now: float) -> Line:
    """Say how many regressions are new, looked at and settled; at the right what was checked, or the filter."""
    answer = held.answer
    if answer is None:
        return ((" asking the supervisor …", "dim"),)
    words = counts_line(answer)
    if not answer.new + answer.looking + answer.accepted + answer.fixed and answer.newest:
        words = f"{words.rstrip('.')}; {newest_words(answer, now)}"
    left: Line = ((f" {words}", "bold" if answer.new else ""),)
    return spread(left, (*_right(held), (" ", "")), width)


def _right(held: Triaged) -> Line:
    pages = held.pages
    if held.filter:
        return (
            ("/", "bold"),
            (f" {cut_middle(clean_line(held.filter), 20)}: {count(pages.matching)} match", "bold"),
        )
    if pages.newcomers:
        return (("o", "bold"), (f" takes in {counted(pages.newcomers, 'new check')}", "bold"))
    if pages.reordered:
        return (("o", "bold"), (" sorts again: the order changed", "dim"))
    return ((facts_words(list(held.pages.rows.values())), "dim"),)


def facts_words(rows: list[TriageRow]) -> str:
    """Say what the checks share: suite, limit and base, as far as they do."""
    words = []
    suites, limits = {row.suite for row in rows}, {row.margin for row in rows}
    bases = {clean_line(row.model).rstrip("/").rpartition("/")[2] for row in rows}
    if len(suites) == 1:
        words.append(clean_line(*suites) or "?")
    if len(limits) == 1:
        words.append(f"limit {limits.pop():.1f}")
    if len(bases) == 1:
        words.append(f"base {cut_middle(bases.pop(), 24)}")
    return ", ".join(words)


def turned_line(held: Triaged, row: TriageRow, at: int, width: int) -> Line:
    """Say which run is shown turned, and how it is seen."""
    seen = row.standing
    state = standing_words(seen) if seen is not None else ""
    left: Line = (
        (f" {cut_middle(clean_line(row.shown_name), 34)}", "bold"),
        (f"   {state}" if state else "", "red" if state == "NEW" else ""),
    )
    place = f"{count(at + 1)} of {count(held.pages.matching)}"
    return spread(left, ((f"{facts_words([row])}   {place} ", "dim"),), width)


def empty_lines(held: Triaged) -> list[Line]:
    """Say why there is nothing to see, and which finished runs nobody has checked."""
    answer = held.answer
    if answer is None:
        return []
    if held.filter and answer.total:
        hidden = f" 0 of {counted(answer.total, 'checked run')} match   {clean_line(held.filter)}"
        return [(), ((hidden, ""),), ((f" {count(answer.total)} match without it", "dim"),)]
    return [(), ((" No run has been checked yet: nothing to triage.", "bold"),), *unchecked_lines(held)]


def unchecked_lines(held: Triaged) -> list[Line]:
    """Name the finished runs that have no check."""
    answer = held.answer
    if answer is None or not answer.unchecked_total:
        return []
    more = answer.unchecked_total - len(answer.unchecked)
    names = ",  ".join(cut_middle(clean_line(name), 24) for name in answer.unchecked)
    rest = f" and {count(more)} more" if more > 0 else ""
    has = "finished run has" if answer.unchecked_total == 1 else "finished runs have"
    return [((f"   {count(answer.unchecked_total)} {has} no check:  ", ""), (f"{names}{rest}", "bold"))]


def newest_words(answer: TriageAnswer, now: float) -> str:
    """Say when something was checked last."""
    return f"the last {long_span(now - answer.newest_at)} ago ({cut_middle(clean_line(answer.newest), 24)})"
