"""A row of the list of remedies: letter, label, target, gain kept as a bar, points retained, verdict."""

from __future__ import annotations

from dataclasses import dataclass

from finetop.core.features.remedies import columns, wording as remedies
from finetop.core.features.remedies.messages import RemediesAnswer, RetrainingRow
from finetop.core.protocol.runs import RemedyRow, Running
from finetop.core.text import clean_line, count
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import metric_words
from finetop.tui.screens.remedies.state import RemediesState
from finetop.tui.text import CURSOR, Line, Span, cursor_mark, cut_end
from finetop.tui.theme import MARKS, StyleName
from finetop.tui.widgets.bar import share_bar

START, LEAST_NAME, NAME, TARGET = 7, 20, 28, 7  # cells of the columns
SHARE, METRIC = 5, 12  # cells of the share of the gain, and of its metric
MOVED, RETAINED = 8, 21  # cells of the points retained, without and with the interval
VERDICT = 11
RETRAINING = 26  # cells of the label of a remedy that retrains
LEAST_BAR, LONGEST_BAR = 8, 20


@dataclass(frozen=True, slots=True)
class Widths:
    """The width of each column in cells; 0 if there is no room for it."""

    name: int
    target: int
    bar: int
    share: int
    metric: int
    retained: int


def widths_of(answer: RemediesAnswer, width: int) -> Widths:
    """Divide a row: first verdict, points retained and share of the gain, then name, target and the bar."""
    metric = METRIC if len(answer.base) > 1 and width >= 72 else 0
    retained = RETAINED if width >= 78 else MOVED
    share = SHARE if metric else len(columns.GAIN) + 1
    left = width - START - share - metric - 2 - retained - 1 - VERDICT
    target = TARGET if answer.metric and left - TARGET >= LEAST_NAME else 0
    name = min(NAME, left - target)
    bar = min(LONGEST_BAR, left - target - name - 2)
    return Widths(name, target, bar if bar >= LEAST_BAR else 0, share, metric, retained)


def head_line(answer: RemediesAnswer, width: int) -> Line:
    """Return the header row."""
    widths = widths_of(answer, width)
    target = f"{'target':>{widths.target}}" if widths.target else ""
    title = columns.WORST_GAIN if widths.bar and remedies.has_several(answer) else columns.GAIN
    cells = (widths.bar + 2 if widths.bar else 0) + widths.share + widths.metric
    gain = f"  {title:<{cells - 2}}" if widths.bar or widths.metric else f"{title:>{cells}}"
    text = f"{'':<{START}}{columns.REMEDY.title:<{widths.name}}{target}{gain}"
    return ((f"{text}  {columns.RETAINED:<{widths.retained}} {columns.FORGOT}", "dim"),)


def remedy_line(state: RemediesState, row: RemedyRow, letter: str, *, has_cursor: bool, width: int) -> Line:
    """Draw a remedy without training: its result, its progress, or why it can't be used."""
    answer = state.shown
    assert answer is not None
    widths, star = widths_of(answer, width), remedies.star(answer, row)
    mark: Span = (star or " ", "green" if star else "")
    if remedies.is_trying(answer, row):
        mark = (MARKS["running"].mark, MARKS["running"].style)
    elif remedies.waits(answer, row):
        mark = (MARKS["queued"].mark, "")
    marked: Span = ("•", "bold") if row.name in state.marked else (" ", "")
    cursor = CURSOR if has_cursor else marked
    start = (cursor, (" ", ""), mark, (f" {letter}  ", ""), *_name(row.label, has_cursor, widths.name))
    room = width - START - widths.name - 2
    if row.why_not:
        return (*start, (f"  {cut_end(clean_line(row.why_not), room)}", "dim"))
    if remedies.is_trying(answer, row):
        return (*start, (f"  {cut_end(_activity(answer), room)}", "cyan"))
    if not row.verdict:
        price = "" if answer.price_s is None else f", about {long_span(answer.price_s)}"
        text = "queued" if remedies.waits(answer, row) else f"{remedies.untried(row)}{price}"
        return (*start, (f"  {cut_end(text, room)}", "dim"))
    if row.verdict in ("failed", "unchanged"):
        style: StyleName = "red" if row.verdict == "failed" else "dim"
        return (*start, (f"  {cut_end(f'{remedies.verdict(row)}: {clean_line(row.reason)}', room)}", style))
    target: Span = (f"{remedies.target(answer, row):>{widths.target}}" if widths.target else "", "")
    text = remedies.retained(row, answer.margin) if widths.retained == RETAINED else ""
    text = text if 0 < len(text) <= widths.retained else remedies.moved(row, answer.margin)
    retained: Span = (f"  {cut_end(text, widths.retained):<{widths.retained}} ", "")
    return (*start, target, *_gain(row, widths), retained, *_verdict(row))


def retraining_line(row: RetrainingRow, letter: str, *, has_cursor: bool, width: int) -> Line:
    """Draw a remedy that retrains: its cost, or why it can't be used."""
    price = "" if row.price_s is None else f"about {long_span(row.price_s)}, like this run"
    text = clean_line(row.why_not) or price
    spans: Line = (cursor_mark(has_cursor), (f"   {letter}  ", ""), *_name(row.label, has_cursor, RETRAINING))
    return (*spans, (f"  {cut_end(text, max(0, width - 8 - RETRAINING))}", "dim"))


def _name(label: str, has_cursor: bool, room: int) -> Line:
    return ((f"{cut_end(clean_line(label), room - 1):<{room}}", "bold" if has_cursor else ""),)


def _gain(row: RemedyRow, widths: Widths) -> Line:
    metric = metric_words(remedies.gain_metric(row)) if widths.metric else ""
    shown = f" {cut_end(metric, widths.metric - 1):<{widths.metric - 1}}" if widths.metric else ""
    share: Line = ((f"{remedies.gain(row):>{widths.share}}", ""), (shown, "dim"))
    if not widths.bar:
        return share
    # The bar shows the gain, which is never bad: red marks only what was forgotten.
    bar = share_bar(row.gain or 0.0, widths.bar, "green" if row.verdict == "ok" else "")
    return (("  ", ""), *bar, *share)


def _verdict(row: RemedyRow) -> Line:
    mark = MARKS[row.verdict]
    if row.confirmation in ("regressed", "no_verdict"):
        return ((mark.mark, ""), (" unproven", ""))
    return ((mark.mark, mark.style), (f" {remedies.verdict(row)}", mark.style))


def _activity(answer: RemediesAnswer) -> str:
    job = answer.job
    if not isinstance(job, Running):
        return ""
    activity = job.phase.partition(": ")[2].replace("scoring tuned", "scoring")
    activity = activity.replace("scoring the target: tuned", "scoring the target")
    if job.phase.startswith("confirming "):
        activity = f"confirming, {activity}"
    if job.done is not None and job.total:
        activity += f", {count(int(job.done))} of at most {count(int(job.total))}"
    return activity if job.left_s is None else f"{activity}, {long_span(job.left_s)} left at most"
