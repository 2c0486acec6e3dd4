"""Draws a job as a row of the queue; wider terminals show more columns."""

from __future__ import annotations

from finetop.core.protocol import job_kinds
from finetop.core.protocol.messages.limits import PRIORITIES
from finetop.core.protocol.messages.queue import LiveRow, QueueRow
from finetop.core.text import clean_line
from finetop.core.wording import jobs
from finetop.core.wording.durations import clock, short_span
from finetop.core.wording.queue import priority_word, what_words, why
from finetop.tui.screens.queue.state import Entry
from finetop.tui.text import Line, cursor_mark, cut_end, cut_middle, line_width, of_steps, padded
from finetop.tui.theme import MARKS, Mark

WHAT_FROM, WANTS_FROM, PRIORITY_FROM = 100, 80, 110  # columns of the terminal
WHAT, WANTS, PRIORITY, STARTS = 12, 12, 8, 6
DAY_S = 86400.0


def name_width(width: int) -> int:
    return 20 if width < 80 else 24 if width < 120 else min(48, width // 4)


def head_line(width: int) -> Line:
    """Return the titles of the columns that running and waiting jobs share; the headings of both have the others."""
    return ((_shared_titles(width), "dim"),)


def part_heading(heading: str, entry: Entry, width: int) -> str:
    """Return the heading of running or waiting jobs with the titles of their own columns."""
    own = "progress" if isinstance(entry.row, LiveRow) else f"{'starts':<{STARTS}}  because"
    at = len(_shared_titles(width)) + 1
    return f"{heading:<{at}}{own}" if heading and len(heading) < at else heading


def _shared_titles(width: int) -> str:
    title = f"      # {'run':<{name_width(width)}}"
    if width >= WHAT_FROM:
        title += f"  {'what':<{WHAT}}"
    if width >= WANTS_FROM:
        title += f"  {'wants':<{WANTS}}"
    if width >= PRIORITY_FROM:
        title += f"  {'priority':<{PRIORITY}}"
    return title


def entry_line(entry: Entry, *, has_cursor: bool, width: int, now: float) -> Line:
    """Draw a job as a row of at most `width` cells."""
    row, mark = entry.row, mark_of(entry)
    name = clean_line(row.run)
    if not job_kinds.of(row.what).trains_here and width < WHAT_FROM:
        name = f"{cut_middle(name, name_width(width) - len(row.what) - 1)} {row.what}"
    place = str(row.state.place or "-") if isinstance(row, QueueRow) else ""
    name = padded(cut_middle(name, name_width(width)), name_width(width))
    line: Line = (cursor_mark(has_cursor), (" ", ""), (mark.mark, mark.style), (f" {place:>3} ", ""))
    line = (*line, (name, "bold" if has_cursor else ""))
    wants = row.on if isinstance(row, LiveRow) else row.wants
    if width >= WHAT_FROM:
        line = (*line, (f"  {padded(what_words(row.what, step_of(entry)), WHAT)}", ""))
    if width >= WANTS_FROM:
        line = (*line, (f"  {padded(cut_end(clean_line(wants), WANTS), WANTS)}", ""))
    if width >= PRIORITY_FROM:
        line = (*line, (f"  {padded(_priority(entry), PRIORITY)}", ""))
    if isinstance(row, QueueRow):
        line = (*line, (f"  {starts_words(entry, now):<{STARTS}}", ""))
    room, text = width - line_width(line) - 2, because(entry, now)
    if len(text) > room:  # the column's title says as much
        text = text.removeprefix("waits for ").removeprefix("waits ")
    return (*line, ("  ", ""), (cut_end(text, room), ""))


def mark_of(entry: Entry) -> Mark:
    """Return the mark of a job's state."""
    if entry.runs is not None:
        return MARKS["alarm"] if entry.runs.state.pulse else MARKS["running"]
    if entry.waits is not None and entry.waits.state.paused_at is not None:
        return MARKS["paused"]
    return MARKS["queued"]


def step_of(entry: Entry) -> int | None:
    """Return the step that a waiting job resumes from or checks."""
    return entry.row.step if isinstance(entry.row, QueueRow) else None


def starts_words(entry: Entry, now: float) -> str:
    """Return the approximate start in few cells: a time of day, or in how many days."""
    row = entry.waits
    if row is None:
        return ""
    if row.state.held:
        return "held"
    if row.starts_at is None:
        return "-"
    if row.starts_at - now > DAY_S:
        return short_span(row.starts_at - now)
    return clock(row.starts_at)


def because(entry: Entry, now: float) -> str:
    """Return why a job waits; of a running one its progress and expected end."""
    if isinstance(entry.row, LiveRow):
        return progress(entry.row, now)
    if entry.row.state.held and entry.row.state.paused_at is None:
        return "R releases it"
    if entry.row.after:
        return f"after {cut_middle(clean_line(entry.row.after), 24)}"
    return why(entry.row.state, now)


def progress(row: LiveRow, now: float) -> str:
    """Return the progress of a live job: '820/1200, ends 14:38'; of remedies '2 of 8, half-way: scoring'."""
    state, tried = row.state, row.tried
    if state.asked:
        return jobs.requested_end(row.what, state)
    parts = [] if tried is None else [f"{tried.done} of {tried.total}"]
    parts += [] if state.phase == "training" else [clean_line(state.phase)]
    if tried is None and state.done is not None and state.total:
        steps = of_steps(int(state.done), int(state.total))
        parts.append(steps if state.unit in ("", "steps") else f"{steps} {clean_line(state.unit)}")
    if (left_s := jobs.seconds_left(state, tried)) is not None:
        ends = f"ends {clock(now + left_s)}"
        parts.append(ends if left_s < DAY_S else f"{short_span(left_s)} left")
    return ", ".join(parts) or "training"


def _priority(entry: Entry) -> str:
    if entry.waits is None:
        return ""
    usual = PRIORITIES["normal"] if job_kinds.of(entry.waits.what).takes_budget else 0
    return "" if entry.waits.priority == usual else priority_word(entry.waits.priority)
