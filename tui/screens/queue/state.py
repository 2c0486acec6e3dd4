"""The queues of one or several machines as one list, and the changes that keys make to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from finetop.core.errors import NoSupervisor
from finetop.core.protocol.messages import queue as messages
from finetop.core.protocol.messages.limits import PRIORITIES
from finetop.core.protocol.messages.machine import Gpus, GpusAnswer
from finetop.core.protocol.messages.queue import LiveRow, Move, Prioritise, QueueAnswer, QueueRow
from finetop.core.protocol.request import Ask
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line
from finetop.core.wording.queue import why

AskOn = Callable[["Home", Ask], Awaitable[Any]]
LEVELS = sorted(PRIORITIES.values())  # smaller numbers start first


@dataclass(slots=True)
class OnMachine:
    """The last known state of one machine. `label` is empty if there is only one."""

    home: Home
    label: str
    queue: QueueAnswer | None = None
    gpus: GpusAnswer | None = None
    is_away: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A running or a waiting job; `label` names its machine if there are several."""

    label: str
    row: LiveRow | QueueRow

    @property
    def key(self) -> tuple[str, int, str]:
        return (self.label, self.row.run_id, self.row.what)

    @property
    def name(self) -> str:
        """The run's name as used in requests."""
        return f"{self.label}:{self.row.run}" if self.label else self.row.run

    @property
    def waits(self) -> QueueRow | None:
        return self.row if isinstance(self.row, QueueRow) else None

    @property
    def runs(self) -> LiveRow | None:
        return self.row if isinstance(self.row, LiveRow) else None

    def heading(self) -> str:
        on = f" on {clean_line(self.label)}" if self.label else ""
        if isinstance(self.row, LiveRow):
            return f"running{on}"
        return f"waiting{on}, next to start first"


class QueueList:
    """Running and waiting jobs on all machines, and the state of their GPUs."""

    def __init__(self, homes: Sequence[Home], ask_on: AskOn) -> None:
        several = len(homes) > 1
        self.machines = [OnMachine(home, home.label if several else "") for home in homes]
        self._ask_on = ask_on
        self.entries: list[Entry] = []
        self.filter = ""

    @property
    def is_known(self) -> bool:
        return any(machine.queue is not None for machine in self.machines)

    async def load(self) -> None:
        """Load all machines. Raises NoSupervisor if none answers, or any other error of the last failing one."""
        outcomes = await asyncio.gather(*map(self._load_one, self.machines), return_exceptions=True)
        for machine, outcome in zip(self.machines, outcomes, strict=True):
            machine.is_away = isinstance(outcome, NoSupervisor)
        self.lay_out()
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if errors and (len(errors) == len(outcomes) or not isinstance(errors[-1], NoSupervisor)):
            raise errors[-1]

    async def _load_one(self, machine: OnMachine) -> None:
        machine.queue = await self._ask_on(machine.home, messages.Queue())
        machine.gpus = await self._ask_on(machine.home, Gpus())

    def lay_out(self) -> None:
        entries: list[Entry] = []
        for machine in self.machines:
            if machine.queue is not None:
                entries += [Entry(machine.label, row) for row in machine.queue.live]
                entries += [Entry(machine.label, row) for row in machine.queue.rows]
        text = self.filter.lower()
        self.entries = [entry for entry in entries if text in _words(entry).lower()] if text else entries

    def place_of(self, entry: Entry) -> int | None:
        return next((i for i, other in enumerate(self.entries) if other.key == entry.key), None)

    def first_waiting(self) -> int:
        """Return the index of the first waiting job, where the cursor starts."""
        return next((i for i, entry in enumerate(self.entries) if entry.waits is not None), 0)

    def machine_of(self, entry: Entry | None) -> OnMachine:
        """Return the machine of an entry, or the first machine."""
        label = "" if entry is None else entry.label
        return next((machine for machine in self.machines if machine.label == label), self.machines[0])

    def line_of(self, entry: Entry) -> list[QueueRow]:
        """Return one row for each run waiting on an entry's machine, including those filtered out."""
        queue = self.machine_of(entry).queue
        rows: dict[int, QueueRow] = {}
        for row in () if queue is None else queue.rows:
            rows.setdefault(row.run_id, row)
        return list(rows.values())

    def counts(self) -> tuple[int, int]:
        """Return the numbers of waiting and running jobs."""
        known = [machine.queue for machine in self.machines if machine.queue is not None]
        return sum(queue.total for queue in known), sum(len(queue.live) for queue in known)

    def stopped(self) -> str:
        """Return why no job starts now, or an empty string."""
        known = [(each.label, each.queue.stopped) for each in self.machines if each.queue is not None]
        return clean_line(", ".join(f"{label}: {why}".removeprefix(": ") for label, why in known if why))


def _words(entry: Entry) -> str:
    row = entry.row
    if isinstance(row, LiveRow):
        return f"{entry.name} {row.what} {row.on}"
    return f"{entry.name} {row.what} {row.method} {row.wants} {why(row.state, 0.0)}"


@dataclass(frozen=True, slots=True)
class Change:
    """A request, and the requests that undo it."""

    ask: Ask
    back: tuple[Ask, ...]
    about: str  # a short description: "the order of a"


def move_change(entry: Entry, line: Sequence[QueueRow], rows: int) -> Change | None:
    """Move a job by `rows` places, at most to the front or the end; None if it is there already."""
    place = _place(entry, line)
    if place is None or place == (0 if rows < 0 else len(line) - 1):
        return None
    # The row that it goes before, counted with the job itself.
    to = max(0, place + rows) if rows < 0 else place + rows + 1
    request = Move(entry.name, "last")
    if to < len(line):
        request = Move(entry.name, "before", Entry(entry.label, line[to]).name)
    return Change(request, _undo_requests(entry, line, place), f"the position of {entry.row.run}")


def with_priority(entry: Entry, line: Sequence[QueueRow], levels: int) -> Change | None:
    """Raise (-1) or lower (1) a job's priority by one level; None if there is no further level."""
    row, place = entry.waits, _place(entry, line)
    if row is None or place is None:
        return None
    further = [level for level in LEVELS if (level - row.priority) * levels > 0]
    if not further:
        return None
    request = Prioritise(entry.name, further[0] if levels > 0 else further[-1])
    return Change(request, _undo_requests(entry, line, place), f"the priority of {row.run}")


def hold_change(entry: Entry, *, hold: bool) -> Change:
    """Hold a waiting job, or release it."""
    asks = (messages.Hold(entry.name), messages.Release(entry.name))
    request, back = asks if hold else asks[::-1]
    return Change(request, (back,), f"the {'hold' if hold else 'release'} of {entry.row.run}")


def _place(entry: Entry, line: Sequence[QueueRow]) -> int | None:
    return next((i for i, row in enumerate(line) if row.run_id == entry.row.run_id), None)


def _undo_requests(entry: Entry, line: Sequence[QueueRow], place: int) -> tuple[Ask, ...]:
    """Restore a job's position: before the run behind it if their priorities match, else by its own priority."""
    row = line[place]
    behind = line[place + 1] if place + 1 < len(line) else None
    if behind is not None and behind.priority == row.priority:
        return (Move(entry.name, "before", Entry(entry.label, behind).name),)
    if behind is None:
        return (Prioritise(entry.name, row.priority), Move(entry.name, "last"))
    return (Prioritise(entry.name, row.priority),)
