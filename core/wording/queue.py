"""The queue in words, the same in the app and on the command line: priorities, tries, why a run waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.protocol.messages.limits import PRIORITIES
from finetop.core.text import clean_line

if TYPE_CHECKING:
    from finetop.core.protocol.runs import Queued

QUEUE_HELD = "the queue is held"


def priority_word(priority: int) -> str:
    """Name a priority: high, normal, low, else its number."""
    return next((word for word, number in PRIORITIES.items() if number == priority), str(priority))


def why(state: Queued, now: float) -> str:
    """Say why a run waits, with the next try where one is to come: '2nd of 3 tries in 4 min: killed by signal 9'."""
    because = clean_line(state.because)
    if not is_for_later(state, now):
        return because
    return ": ".join(filter(None, (f"{state.tries} in {span((state.next_at or now) - now)}", because)))


def is_for_later(state: Queued, now: float) -> bool:
    """Say whether a run's next try has a time that has not come."""
    return not state.held and state.next_at is not None and state.next_at > now


def span(seconds: float) -> str:
    """A length of time in words, rounded up: '40 s', '4 min', '2 h 5 min', '3 d'."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{round(hours / 24)} d"
