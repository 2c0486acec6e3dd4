"""The queue in words, the same in the app and on the command line: priorities, tries, why a run waits."""

from __future__ import annotations

from finetop.core.protocol.messages.limits import PRIORITIES
from finetop.core.protocol.runs import Queued
from finetop.core.text import clean_line
from finetop.core.wording.durations import long_span

QUEUE_HELD = "the queue is held"
ON_CPU = "CPU"


def what_words(what: str, step: int | None) -> str:
    """Name a job by its verb and the step that it is of: 'train', 'resume @400', 'check @800'."""
    if step is None:
        return what
    return f"{'resume' if what == 'train' else what} @{step}"


def priority_word(priority: int) -> str:
    """Name a priority: high, normal, low, else its number."""
    return next((word for word, number in PRIORITIES.items() if number == priority), str(priority))


def why(state: Queued, now: float) -> str:
    """Say why a run waits, with the next try where one is to come: '2nd of 3 tries in 4 min: killed by signal 9'."""
    because = clean_line(state.because)
    if not is_for_later(state, now):
        return because
    return ": ".join(filter(None, (f"{state.tries} in {long_span((state.next_at or now) - now)}", because)))


def is_for_later(state: Queued, now: float) -> bool:
    """Say whether a run's next try has a time that has not come."""
    return not state.held and state.next_at is not None and state.next_at > now
