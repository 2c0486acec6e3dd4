"""The queue in words: priorities, retries, why a run waits."""

from __future__ import annotations

from finetop.core.protocol import job_kinds
from finetop.core.protocol.messages.limits import PRIORITIES, ordinal
from finetop.core.protocol.messages.queue import QueueAnswer, QueueRow
from finetop.core.protocol.runs import Queued
from finetop.core.text import clean_line
from finetop.core.wording.durations import day_clock, long_span

QUEUE_HELD = "the queue is held"
ON_CPU = "CPU"


def what_words(what: str, step: int | None) -> str:
    """Return a job's verb with its step: 'train', 'resume @400', 'check @800'."""
    if step is None:
        return what
    return f"{'resume' if job_kinds.of(what).trains_here else what} @{step}"


def priority_word(priority: int) -> str:
    """Return a priority's name (high, normal, low), else its number."""
    return next((word for word, number in PRIORITIES.items() if number == priority), str(priority))


def stopped_words(answer: QueueAnswer) -> str:
    """Return why nothing starts now, with the command to release it; empty if the queue moves."""
    release = ": finetop queue release" if answer.stopped == QUEUE_HELD else ""
    return f"nothing starts: {clean_line(answer.stopped)}{release}" if answer.stopped else ""


def running_words(answer: QueueAnswer) -> str:
    """Return the names of the runs that run now."""
    return f"running: {', '.join(clean_line(name) for name in answer.running) or 'nothing'}"


def starts_about(row: QueueRow, now: float) -> str:
    """Return when a waiting job starts, if that can be estimated: '14:05'."""
    return "" if row.starts_at is None else day_clock(row.starts_at, now)


def waits(row: QueueRow, answer: QueueAnswer, now: float) -> str:
    """Return one line on what a job waits for: '2nd in the queue, starts about 14:05: waits for …; running: one'."""
    place = [f"{ordinal(row.state.place)} in the queue"] if row.state.place else []
    at = [f"starts about {when}"] if (when := starts_about(row, now)) else []
    parts = [": ".join(filter(None, (", ".join(place + at), why(row.state, now))))]
    if row.do:
        parts.append(f"next: {clean_line(row.do)}")
    elif answer.stopped:
        parts = [", ".join(place), stopped_words(answer)]
    else:
        parts.append(running_words(answer))
    return "; ".join(filter(None, parts))


def why(state: Queued, now: float) -> str:
    """Return why a run waits, with its next retry if there is one: '2nd of 3 tries in 4 min: killed by signal 9'."""
    because = clean_line(state.because)
    if not is_for_later(state, now):
        return because
    return ": ".join(filter(None, (f"{state.tries} in {long_span((state.next_at or now) - now)}", because)))


def is_for_later(state: Queued, now: float) -> bool:
    """Return True if a run's next retry is in the future."""
    return not state.held and state.next_at is not None and state.next_at > now
