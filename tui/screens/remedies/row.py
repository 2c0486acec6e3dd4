"""One row of the list of remedies: letter, what it does, target, gain kept as a bar, what is retained, the verdict."""

from __future__ import annotations

from finetop.core.protocol.messages.remedies import RemediesAnswer, RetrainingRow
from finetop.core.protocol.runs import RemedyRow, Running
from finetop.core.text import clean_line, count
from finetop.core.wording import remedies
from finetop.core.wording.durations import long_span
from finetop.tui.text import Line, Span, cursor_mark, cut_end
from finetop.tui.theme import MARKS, StyleName
from finetop.tui.widgets.bar import share_bar

NAME, TARGET, PERCENT, RETAINED = 22, 6, 5, 23  # cells of the columns
RETRAINING = 26  # cells of what trains again
LEAST_BAR, LONGEST_BAR = 8, 20
VERDICT = 11
WORST = ("gain kept (worst metric)", "worst gain kept")  # of several metrics, as there is room


def has_target(width: int) -> bool:
    """Say if there is room for what is reached at the target, beside the share that is kept."""
    return width >= 72


def bar_width(width: int) -> int:
    """Return the cells that a bar of the gain has: none on a narrow screen."""
    left = width - (7 + NAME + 1 + TARGET + 2 + 1 + PERCENT + 2 + RETAINED + 2 + VERDICT)
    return 0 if left < LEAST_BAR else min(left, LONGEST_BAR)


def head_line(answer: RemediesAnswer, width: int) -> Line:
    """Name the columns."""
    gain = bar_width(width) + PERCENT + (1 if bar_width(width) else 0)
    target = f" {'target' if answer.metric else '':>{TARGET}}" if has_target(width) else ""
    kept = "gain kept" if has_target(width) else " gain"
    if remedies.has_several(answer):
        kept = next((title for title in WORST if len(title) <= gain), kept)
    words = f"       {'remedy':<{NAME}}{target}  {kept:<{gain}}"
    return ((f"{words}  {'retained':<{RETAINED}}  forgot?", "dim"),)


def remedy_line(
    answer: RemediesAnswer, row: RemedyRow, letter: str, *, has_cursor: bool, is_marked: bool, width: int
) -> Line:
    """Draw one that needs no training: how it did, how far it is, or why it can't be had."""
    start = (
        *_start(answer, row, letter, has_cursor=has_cursor, is_marked=is_marked),
        *_name(row.label, has_cursor),
    )
    room = width - 7 - NAME - 2
    if row.why_not:
        return (*start, (f"  {cut_end(f'not here: {clean_line(row.why_not)}', room)}", "dim"))
    if remedies.is_trying(answer, row):
        return (*start, (f"  {cut_end(_doing(answer), room)}", "cyan"))
    if not row.verdict:
        price = "" if answer.price_s is None else f", about {long_span(answer.price_s)}"
        words = "waits" if remedies.waits(answer, row) else f"not tried{price}"
        return (*start, (f"  {cut_end(words, room)}", "dim"))
    if row.verdict in ("failed", "unchanged"):
        style: StyleName = "red" if row.verdict == "failed" else "dim"
        return (*start, (f"  {cut_end(f'{remedies.verdict(row)}: {clean_line(row.reason)}', room)}", style))
    target: Span = (f" {remedies.target(answer, row):>{TARGET}}  " if has_target(width) else "  ", "")
    retained = cut_end(remedies.retained(row, answer.margin), RETAINED)
    kept: Span = (f"{retained:<{RETAINED}}  ", "")
    return (*start, target, *_gain(row, width), ("  ", ""), kept, *_verdict(row))


def retraining_line(row: RetrainingRow, letter: str, *, has_cursor: bool, width: int) -> Line:
    """Draw one that trains again: what it costs, or why not."""
    cursor: Span = cursor_mark(has_cursor)
    price = "" if row.price_s is None else f"about {long_span(row.price_s)}, as this run"
    words = f"not here: {clean_line(row.why_not)}" if row.why_not else price
    spans: Line = (cursor, (f"   {letter}  ", ""), *_name(row.label, has_cursor, RETRAINING))
    return (*spans, (f"  {cut_end(words, max(0, width - 8 - RETRAINING))}", "dim"))


def _start(answer: RemediesAnswer, row: RemedyRow, letter: str, *, has_cursor: bool, is_marked: bool) -> Line:
    cursor: Span = ("▸", "reverse") if has_cursor else ("•", "bold") if is_marked else (" ", "")
    star = remedies.star(answer, row)
    mark: Span = (star or " ", "green" if star else "")
    if remedies.is_trying(answer, row):
        mark = (MARKS["running"].mark, MARKS["running"].style)
    elif remedies.waits(answer, row):
        mark = (MARKS["queued"].mark, "")
    return (cursor, (" ", ""), mark, (f" {letter}  ", ""))


def _name(label: str, has_cursor: bool, room: int = NAME) -> Line:
    return ((f"{cut_end(clean_line(label), room):<{room}}", "bold" if has_cursor else ""),)


def _gain(row: RemedyRow, width: int) -> Line:
    cells = bar_width(width)
    percent: Span = (f"{remedies.gain(row):>{PERCENT}}", "")
    if not cells:
        return (percent,)
    return (*share_bar(row.gain or 0.0, cells, bar_style(row)), (" ", ""), percent)


def bar_style(row: RemedyRow) -> StyleName:
    """A bar has the colour of its verdict; what is open has none."""
    if row.verdict == "regressed":
        return "red"
    return "green" if row.verdict == "ok" else ""


def _verdict(row: RemedyRow) -> Line:
    mark = MARKS[row.verdict]
    if row.confirmation in ("regressed", "no_verdict"):
        return ((mark.mark, ""), (" not again", ""))
    return (
        (mark.mark, mark.style),
        (f" {remedies.verdict(row)}", "red" if row.verdict == "regressed" else mark.style),
    )


def _doing(answer: RemediesAnswer) -> str:
    """Say what the job does at this remedy, and how long that takes at most."""
    job = answer.job
    if not isinstance(job, Running):
        return ""
    what = (
        job.phase.partition(": ")[2]
        .replace("scoring tuned", "scoring")
        .replace("scoring the target: tuned", "scoring the target")
    )
    if job.phase.startswith("confirming "):
        what = f"confirming, {what}"
    if job.done is not None and job.total:
        what += f", {count(int(job.done))} of at most {count(int(job.total))}"
    return what if job.left_s is None else f"{what}, {long_span(job.left_s)} left at most"
