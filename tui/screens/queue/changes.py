"""What the keys of the queue ask of the supervisor, and what takes each of them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetop.core.protocol.messages.limits import PRIORITIES
from finetop.core.protocol.messages.queue import Hold, Move, Prioritise, Release
from finetop.core.protocol.request import Ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.messages.queue import QueueRow
    from finetop.tui.screens.queue.state import Entry

LEVELS = sorted(PRIORITIES.values())  # the smaller starts first


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is asked for, and the requests that take it back."""

    ask: Ask
    back: tuple[Ask, ...]
    about: str  # what it is, in words: "the order of a"


def sooner(entry: Entry, line: Sequence[QueueRow]) -> Change | None:
    """Put what waits before the run above it; None for the first."""
    place = _place(entry, line)
    if place is None or place == 0:
        return None
    return _moved(entry, line, place, before=line[place - 1])


def later(entry: Entry, line: Sequence[QueueRow]) -> Change | None:
    """Put what waits behind the run below it; None for the last."""
    place = _place(entry, line)
    if place is None or place + 1 >= len(line):
        return None
    return _moved(entry, line, place, before=line[place + 2] if place + 2 < len(line) else None)


def to_end(entry: Entry, line: Sequence[QueueRow], *, first: bool) -> Change | None:
    """Put what waits first or last; None where it is."""
    place = _place(entry, line)
    if place is None or place == (0 if first else len(line) - 1):
        return None
    return _moved(entry, line, place, before=line[0] if first else None)


def with_priority(entry: Entry, line: Sequence[QueueRow], levels: int) -> Change | None:
    """Give the next higher (-1) or lower (1) priority of high, normal and low; None beyond them."""
    row, place = entry.waits, _place(entry, line)
    if row is None or place is None:
        return None
    further = [level for level in LEVELS if (level - row.priority) * levels > 0]
    if not further:
        return None
    wanted = further[0] if levels > 0 else further[-1]
    return Change(Prioritise(entry.name, wanted), _back(entry, line, place), f"the priority of {row.run}")


def held(entry: Entry, *, hold: bool) -> Change:
    """Hold what waits, or release it."""
    asks = (Hold(entry.name), Release(entry.name))
    ask, back = asks if hold else asks[::-1]
    return Change(ask, (back,), f"the {'hold' if hold else 'release'} of {entry.row.run}")


def _place(entry: Entry, line: Sequence[QueueRow]) -> int | None:
    return next((i for i, row in enumerate(line) if row.run_id == entry.row.run_id), None)


def _moved(entry: Entry, line: Sequence[QueueRow], place: int, *, before: QueueRow | None) -> Change:
    name = entry.name
    ask = Move(name, "last") if before is None else Move(name, "before", _named(entry, before))
    return Change(ask, _back(entry, line, place), f"the place of {entry.row.run}")


def _back(entry: Entry, line: Sequence[QueueRow], place: int) -> tuple[Ask, ...]:
    """Put it where it was: before the run behind it, which gives it that one's priority; else by its own."""
    own = line[place]
    behind = line[place + 1] if place + 1 < len(line) else None
    if behind is not None and behind.priority == own.priority:
        return (Move(entry.name, "before", _named(entry, behind)),)
    if behind is None:
        return (Prioritise(entry.name, own.priority), Move(entry.name, "last"))
    return (Prioritise(entry.name, own.priority),)


def _named(entry: Entry, row: QueueRow) -> str:
    return f"{entry.label}:{row.run}" if entry.label else row.run
