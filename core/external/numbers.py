"""Reads a program's numbers from every source that is there and reports each value once, as events of its run.

A metric has one owner: the file of the source with the highest rank that has it. A later attempt, or a file that begins
anew, discards what was reported of later steps, as a run that resumes does.
"""

from __future__ import annotations

import re
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from finetop.core.external import sources
from finetop.core.protocol.events import Phase, Planned, Resumed, metrics
from finetop.core.protocol.metric_names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from finetop.core.external.sources import Places, Point, Reader
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.train.alarms import Alarms

AUTO, NONE = "auto", "none"
LOOK_S = 5.0  # between two searches for new files
WEAK = 2  # a source of this rank or below counts steps itself: it waits for a better one
HOLD_S = 20.0  # so long
PHASE_S = 2.0  # between two reports of progress
LONGEST = 200  # characters of a metric's name
MOST_KEYS = 500  # metrics of a run; a program that logs each layer has thousands
LARGEST_STEP = 2**31 - 1
_TRAIN = re.compile(r"(?:train|training)[/_](?!runtime\b|samples_per|steps_per)")
_EVAL = re.compile(r"(?:eval|val|validation|test)[/_]")
# Other trainers' names of what every run has.
OTHERS = {
    "lr": "learning_rate",
    "train_loss": "loss",
    "grad_norm/global": "grad_norm",
    "num_input_tokens_seen": "tokens",
}


def name_of(key: str) -> str:
    """Return our name of a metric: `train/loss` -> `loss`, `eval/loss` and `val_loss` -> `eval_loss`."""
    if match := _EVAL.match(key):
        return f"eval_{key[match.end() :]}"
    key = OTHERS.get(key, key)
    bare = _TRAIN.sub("", key, count=1) if _TRAIN.match(key) else key
    return NAMES.get(bare, OTHERS.get(bare, bare))


def wanted(settings: Sequence[str]) -> dict[str, str]:
    """Return the sources that `command.metrics` asks for, each with its path, or '' to find it."""
    if NONE in settings:
        return {}
    paths = dict.fromkeys(sources.names(), "") if AUTO in settings else {}
    named = (text.partition(":") for text in settings if text != AUTO)
    return {**paths, **{name: path for name, _, path in named}}


@dataclass
class _Open:
    """A file that is read, and the points that wait for a better source."""

    source: str
    rank: int
    reader: Reader
    waits: list[Point] = field(default_factory=list)
    since: float = 0.0  # of the first of them (monotonic)
    is_broken: bool = False  # its reader has failed


@dataclass
class _Owned:
    """The owner of a metric, and the last step that was reported."""

    owner: _Open
    step: int
    at: float  # by the program's clock, 0 if it has none


class Numbers:
    """Everything that is read of one program while it runs."""

    def __init__(
        self,
        wanted: Mapping[str, str],
        places: Places,
        events: EventLog,
        alarms: Alarms,
        *,
        goes_on: bool = False,
    ) -> None:
        self._wanted, self._places, self._events, self._alarms = wanted, places, events, alarms
        self._open: dict[Path, _Open] = {}
        self._owned: dict[str, _Owned] = {}
        self._looked_at = -LOOK_S
        self._goes_on = (
            goes_on  # an earlier attempt has reported steps; the first of this one discards later ones
        )
        self._dropped: set[str] = set()
        self._total, self._planned_by = 0, 0  # planned steps, and the rank of the source that says so
        self._first: tuple[int, float] | None = (
            None  # step and time (monotonic) from which the pace is measured
        )
        self._shown = -PHASE_S
        self._stepped: tuple[int, float] | None = None  # the last step of the loss, and its time
        self.step = 0
        self.read: set[str] = set()  # names of the sources that had numbers

    def look(self, *, is_last: bool = False) -> None:
        """Read what is new. With `is_last` nothing waits any longer for a better source."""
        now = time.monotonic()
        if is_last or now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._find()
        for file in sorted(self._open.values(), key=lambda file: -file.rank):
            if not file.is_broken:
                self._read(file, now, is_last=is_last)
        if now - self._shown >= PHASE_S and self._first is not None:
            self._show(now)

    def _find(self) -> None:
        for name, path in self._wanted.items():
            source = sources.load(name)
            for file in self._files(source, path):
                if file not in self._open:
                    self._open[file] = _Open(
                        name, source.rank + (10 if path else 0), source.open(file, self._places)
                    )

    def _files(self, source: sources.Source, path: str) -> Iterator[Path]:
        try:
            if not path:
                yield from source.find(self._places)
                return
            named = (self._places.folders[-1] / path).resolve()  # no other link is followed
            if named.is_file():
                yield named
            else:
                yield from source.find(
                    sources.Places((named,), self._places.log, 0.0, self._places.log_begins)
                )
        except OSError:
            return  # a folder that comes or goes: the next search

    def _read(self, file: _Open, now: float, *, is_last: bool) -> None:
        try:
            points = file.reader.read()
        except OSError:
            return
        except Exception:  # what reads the numbers must not end the training
            print(f"finetop: the numbers of {file.source} can't be read any further:", flush=True)
            traceback.print_exc()
            file.is_broken = True
            return
        file.reader.restarted = False
        if file.rank <= WEAK and not is_last:
            if points and not file.waits:
                file.since = now
            file.waits += points
            if now - file.since < HOLD_S:
                return
            points = []
        points, file.waits = [*file.waits, *points], []
        if file.reader.total and file.reader.total != self._total and file.rank >= self._planned_by:
            self._planned_by = file.rank
            self._plan(file.reader)
        for point in points:
            self._take(file, point, now)

    def _plan(self, reader: Reader) -> None:
        self._total = reader.total
        self._events.write(Planned(min(reader.total, LARGEST_STEP), reader.epochs, 0, 0, 0, 0, 0))
        self._alarms.begin(reader.total)

    def _take(self, file: _Open, point: Point, now: float) -> None:
        if not 0 <= point.step <= LARGEST_STEP:
            return
        values = {}
        for key, value in point.values.items():
            name = name_of(key)[:LONGEST]
            if name and self._is_new(file, name, point):
                values[name] = value
        if not values:
            return
        if self._goes_on:
            self._goes_on = False
            self._events.write(Resumed(max(0, point.step - 1)))
        self.read.add(file.source)
        self.step = max(self.step, point.step)
        self._first = self._first or (point.step, now)
        self._events.write(metrics(point.step, values))
        self._alarms.look(point.step, self._with_pace(point, values))

    def _is_new(self, file: _Open, name: str, point: Point) -> bool:
        """Return whether a value is to be reported, and note that it is."""
        owned = self._owned.get(name)
        if owned is None:
            if len(self._owned) >= MOST_KEYS:
                if not self._dropped:
                    print(
                        f"finetop: only {MOST_KEYS} metrics are kept; {name} and others are not", flush=True
                    )
                self._dropped.add(name)
                return False
            self._owned[name] = _Owned(file, point.step, point.at)
            return True
        goes_back = False
        if owned.owner is not file:
            is_later = file.rank == owned.owner.rank and point.at > owned.at > 0
            if file.rank <= owned.owner.rank and not is_later:
                return False
            goes_back = is_later and point.step < owned.step
            if file.rank > owned.owner.rank and point.step <= owned.step:
                return False  # the better source repeats what is known; it owns what follows
        elif point.step < owned.step:
            goes_back = True
        if goes_back:
            self._go_back(point.step)
        elif point.step == owned.step:
            return False
        self._owned[name] = _Owned(file, point.step, point.at)
        return True

    def _go_back(self, step: int) -> None:
        """Discard what was reported from a step on: the program began anew there."""
        print(
            f"finetop: the program goes on from step {step}; what it reported of later steps is dropped",
            flush=True,
        )
        self._events.write(Resumed(max(0, step - 1)))
        self._owned = {name: owned for name, owned in self._owned.items() if owned.step < step}
        self._alarms.begin(self._total)
        self._first = self._stepped = None
        self.step = max(0, step - 1)

    def _with_pace(self, point: Point, values: dict[str, float]) -> dict[str, float]:
        """Add the seconds a step to values with a loss, by the program's clock, else by ours."""
        if "loss" not in values:
            return values
        at, before = point.at or time.time(), self._stepped
        self._stepped = (point.step, at)
        if before is None or point.step <= before[0] or at <= before[1]:
            return values
        return {**values, "step_s": (at - before[1]) / (point.step - before[0])}

    def _show(self, now: float) -> None:
        assert self._first is not None
        self._shown = now
        done, began = self.step - self._first[0], self._first[1]
        left = self._total - self.step
        left_s = round((now - began) / done * left, 1) if done > 0 and left >= 0 and self._total else None
        total = float(self._total) if self._total else None
        self._events.write(Phase("training", float(self.step), total, "steps", left_s))
