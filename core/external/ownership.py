"""Which file reports which metric: the one of the highest rank that has it, and each value once.

A later attempt, or a file that starts over, discards what was reported of later steps, as a run that resumes does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from finetop.core.external import merging
from finetop.core.external.progress import LARGEST_STEP
from finetop.core.protocol.metric_names import LOSS, name_of
from finetop.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from finetop.core.external.merging import Counted, Losses
    from finetop.core.external.sources import Point, Reader

RESTART_S = 2.0  # a file that begins so long after the last value of another is of a later attempt
LONGEST = 200  # characters of a metric's name
MOST_KEYS = 500  # metrics of a run; a program that logs each layer has thousands
OF_GUESSES = 2  # ranks that a file loses while it has no steps


@dataclass
class File:
    """A file that is read, and the points that wait for a better source."""

    key: str
    source: str
    own_rank: int
    reader: Reader
    why: str  # it is believed
    is_proven: bool  # seen to be written by the program; else nobody else seems to
    waits: list[Point] = field(default_factory=list)
    held: bool = False  # what it has waits
    is_broken: bool = False  # its reader has failed, or another command writes to it too
    opened: float = field(default_factory=time.time)
    began: float = 0.0  # its first value, by its own clock, else by when the file was written
    written: float = 0.0
    names: dict[str, str] = field(default_factory=dict)  # our names of its keys, each of one key alone
    lost: set[str] = field(default_factory=set)  # metrics that a later attempt's file has taken over
    losses: Losses = field(default_factory=list)  # the newest, as it tells them
    late: list[tuple[float, Point]] = field(default_factory=list)  # wait for a better file, since when
    counted: Counted | None = None  # its steps, as the better file has them; None: nothing shows it
    offset: int = 0  # steps of the rounds before, in a file whose program restarts them in each
    first: int = -1  # step of its loss
    top: int = -1  # its highest step of the loss in this round

    def counted_on(self, point: Point) -> Point:
        """Return a point with its step counted through all rounds.

        An event file is of one process: if the step of its loss returns to the first one, a new epoch or a second
        training has begun, which discards nothing.
        """
        if any(name_of(key) == LOSS for key in point.values):
            if self.first < 0:
                self.first = point.step
            elif point.step < self.top and point.step <= self.first:
                self.offset += self.top + (point.step == 0)
                self.top = -1
            self.top = max(self.top, point.step)
        return point._replace(step=point.step + self.offset) if self.offset else point

    @property
    def is_locked(self) -> bool:
        """Whether more is to be read once another program lets it."""
        return self.reader.is_locked and not self.is_broken

    @property
    def rank(self) -> int:
        return self.own_rank - OF_GUESSES * self.reader.guesses

    def name_all(self, keys: Iterable[str]) -> None:
        """Name each new key: as we do, else as it is if another key has that; a key that is named so comes first."""
        new = [key for key in keys if key not in self.names]
        if not new or len(self.names) >= 4 * MOST_KEYS:
            return
        taken = set(self.names.values())
        for key in sorted(new, key=lambda key: name_of(key) != key):
            whole = f"{self.reader.series}/{key}" if self.reader.series else key
            own = shown(whole)
            wanted = (shown(name_of(whole)), own, *(f"{own[: LONGEST - 4]}_{n}" for n in range(2, 100)))
            name = next((name for name in wanted if name not in taken), "") if own else ""
            self.names[key] = name
            taken.add(name)


@dataclass
class Owned:
    """The owner of a metric, and the last step that was reported."""

    owner: File
    step: int
    at: float  # by the program's clock, else when the file was written
    reached: int = -1  # the last step that was reported, by another file if that is later
    told: list[list[int]] = field(default_factory=list)  # those steps, see merging.add

    def __post_init__(self) -> None:
        self.reached = max(self.reached, self.step)


@dataclass
class Owners:
    """The owner of each metric. `floor` is the step from which a later attempt has discarded what was reported."""

    owned: dict[str, Owned] = field(default_factory=dict)
    floor: int = -1
    is_full: bool = False  # a metric was left out

    def may_report(self, file: File, name: str) -> bool:
        """Return whether a file may report a metric: it owns it, is a better source, or is of a later attempt."""
        owned = self.owned.get(name)
        if owned is None or owned.owner is file:
            return True
        if name in file.lost or file.rank < owned.owner.rank:
            return False
        return file.rank > owned.owner.rank or file.began > owned.at + RESTART_S

    def goes_back(self, file: File, name: str, step: int) -> bool:
        """Return whether a value shows that the program started over: by its loss, if it reports one."""
        if name != LOSS and LOSS in self.owned:
            return False
        owned = self.owned.get(name)
        if owned is None:
            return name == LOSS and step <= self.floor
        if owned.owner is file or file.rank == owned.owner.rank:
            return step < owned.step
        # A better source corrects steps that were guessed, unless that would discard what a third one reported.
        return owned.owner.reader.guesses and self.are_alone(owned.owner, file) and step <= owned.step

    def are_alone(self, first: File, second: File) -> bool:
        """Return whether no third file has a metric."""
        return all(owned.owner is first or owned.owner is second for owned in self.owned.values())

    def first_of(self, owner: File) -> int:
        """Return the first step that was reported of a file which guesses."""
        told = (owned.told[0][0] for owned in self.owned.values() if owned.owner is owner and owned.told)
        return min(told, default=LARGEST_STEP)

    def first_guess(self, better: File) -> int:
        """Return the first step that a worse file has guessed; far away if the loss is of none."""
        owned = self.owned.get(LOSS)
        is_worse = owned is not None and owned.owner.reader.guesses and owned.owner.rank < better.rank
        return self.first_of(owned.owner) if owned is not None and is_worse else LARGEST_STEP

    def is_new(self, file: File, name: str, point: Point) -> bool:
        """Return whether a value is to be reported, and note that it is."""
        owned = self.owned.get(name)
        if owned is None and len(self.owned) >= MOST_KEYS:
            if not self.is_full:
                self.is_full = True
                print(f"finetop: only {MOST_KEYS} metrics are kept; {name} and others are not", flush=True)
            return False
        if point.step <= (self.floor if owned is None else owned.step):
            return False  # known; a better source owns what follows
        if owned is None:
            owned = self.owned[name] = Owned(file, point.step, 0.0, point.step - 1)
        if owned.owner is not file and owned.owner.rank == file.rank:
            owned.owner.lost.add(name)
        is_told = point.step <= owned.reached and merging.has(owned.told, point.step)
        owned.owner, owned.step, owned.at = file, point.step, point.at or file.written
        owned.reached = max(owned.reached, point.step)
        if file.reader.guesses:
            merging.add(owned.told, point.step)
        elif owned.step >= owned.reached:
            owned.told.clear()
        return not is_told

    def may_lead(self, name: str, step: int) -> bool:
        """Return whether a value of a file that is not the owner's is to be reported, and note that it is."""
        owned = self.owned.get(name)
        if owned is None or step <= owned.reached:
            return False
        owned.reached = step
        merging.add(owned.told, step)
        return True

    def hand_over(self, file: File, better: File) -> None:
        """Hand a file's metrics to a better one, which has yet to tell the same steps."""
        for owned in self.owned.values():
            if owned.owner is file:
                owned.owner, owned.step = better, -1

    def go_back(self, step: int) -> None:
        """Forget what was reported from a step on."""
        self.floor = min(self.floor, step - 1)
        self.owned = {name: owned for name, owned in self.owned.items() if owned.step < step}
        for owned in self.owned.values():
            owned.reached = min(owned.reached, step - 1)
            owned.told = [
                [first, min(last, step - 1), stride] for first, last, stride in owned.told if first < step
            ]


def shown(key: str) -> str:
    """Return a key as it can be stored and shown: without control characters, on one line, not too long."""
    return " ".join(safe(key).split())[:LONGEST]


def modified(path: Path) -> float:
    """Return when a file was last written; 0 if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
