"""Reads a program's numbers from every source that is there and reports each value once, as events of its run.

A metric has one owner: the file of the source with the highest rank that has it. A later attempt, or a file that begins
anew, discards what was reported of later steps, as a run that resumes does.
"""

from __future__ import annotations

import re
import time
import traceback
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from finetop.core.external import sources
from finetop.core.external.client import METRICS
from finetop.core.external.writers import is_foreign
from finetop.core.protocol.events import Phase, Planned, Resumed, metrics
from finetop.core.protocol.metric_names import NAMES
from finetop.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from finetop.core.external.sources import Places, Point, Reader
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.train.alarms import Alarms

AUTO, NONE = "auto", "none"
LOSS = "loss"
LOOK_S = 5.0  # between two searches for new files, or longer: SEARCHES times the CPU time of a search
SEARCHES, LONGEST_S = 200, 60.0
LAST_S = 30.0  # for what is left to read at the end
HOLD_S = 8.0  # how long a weak source waits for a better one (found within LOOK_S), a later attempt for all its sources
MOST_HELD = 10_000  # points that wait
RESTART_S = 2.0  # a file that begins so long after the last value of another is of a later attempt
PHASE_S = 2.0  # between two reports of progress
LONGEST = 200  # characters of a metric's name
MOST_KEYS = 500  # metrics of a run; a program that logs each layer has thousands
LARGEST_STEP = 2**31 - 1
OF_GUESSES = 2  # ranks that a file loses while it tells no steps
_TRAIN = re.compile(
    r"(?:train|training)[/_](?!runtime\b|samples_per|steps_per|loss\b)|(?:train|training)/", re.I
)
_EVAL = re.compile(r"(?:eval|evaluation|val|valid|validation)[/_]", re.I)
_PARTS = re.compile(r"loss/(train|training|eval|val|valid|validation)", re.I)
# Other trainers' names of what every run has, as a whole key and after `train/`.
OTHERS = {
    "lr": "learning_rate",
    "grad_norm/global": "grad_norm",
    "num_input_tokens_seen": "tokens",
    "Loss": "loss",
}
WHOLE = {
    "train_loss": "loss",
    "training_loss": "loss",
}  # `train/train_loss` is the Trainer's mean over the run


def name_of(key: str) -> str:
    """Return our name of a metric: `train/loss` -> `loss`, `eval/loss` and `val_loss` -> `eval_loss`."""
    if match := _PARTS.fullmatch(key):
        key = f"{match[1]}/loss"
    if match := _EVAL.match(key):
        rest = key[match.end() :]
        return f"eval_{OTHERS.get(rest, rest)}" if rest else key
    if key.lower() in WHOLE:
        return WHOLE[key.lower()]
    bare = _TRAIN.sub("", key, count=1) or key
    bare = OTHERS.get(bare, bare)
    return NAMES.get(bare, bare)


def shown(key: str) -> str:
    """Return a key as it can be stored and shown: without control characters, on one line, not too long."""
    return " ".join(safe(key).split())[:LONGEST]


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
    own_rank: int
    reader: Reader
    waits: list[Point] = field(default_factory=list)
    held: bool = True  # what it has waits
    is_broken: bool = False  # its reader has failed
    began: float = 0.0  # its first value, by its own clock, else by when the file was written
    written: float = 0.0
    names: dict[str, str] = field(default_factory=dict)  # our names of its keys, each of one key alone
    lost: set[str] = field(default_factory=set)  # metrics that a later attempt's file has taken over

    offset: int = 0  # steps of the rounds before, in a file whose program counts them anew in each
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
class _Owned:
    """The owner of a metric, and the last step that was reported."""

    owner: _Open
    step: int
    at: float  # by the program's clock, else when the file was written


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
        self._wanted = {name: (sources.load(name), path) for name, path in wanted.items()}
        self._places, self._events, self._alarms = places, events, alarms
        self._open: dict[tuple[str, Path], _Open] = {}
        self._foreign: set[Path] = set()  # files of other commands
        self._owned: dict[str, _Owned] = {}
        self._search_at = 0.0
        self._goes_on = (
            goes_on  # an earlier attempt has reported steps, of which this one discards the later ones
        )
        self._floor = -1  # the step from which this attempt has discarded them
        self._held_since = 0.0  # monotonic; 0: nothing has been held yet
        self._is_full = False  # a metric was left out
        self._total, self._planned_by = 0, 0  # planned steps, and the rank of the source that says so
        self._first: tuple[int, float] | None = (
            None  # step and time (monotonic) from which the pace is measured
        )
        self._shown, self._shown_of = -PHASE_S, (0, 0)  # when progress was told, and of which step and total
        self._stepped: tuple[int, float] | None = None  # the last step of the loss, and its time
        self.step = 0
        self.read: set[str] = set()  # names of the sources that had numbers

    def read_new(self, *, is_last: bool = False) -> None:
        """Read what is new. With `is_last` nothing waits any longer for a better source."""
        now = time.monotonic()
        if is_last or now >= self._search_at:
            began = time.process_time()
            self._find()
            self._search_at = now + min(max(LOOK_S, SEARCHES * (time.process_time() - began)), LONGEST_S)
        unfinished = set()  # sources with an earlier file that is not read to its end
        for file in sorted(self._open.values(), key=lambda file: -file.own_rank):
            if file.source in unfinished:
                continue
            is_behind = self._read(file, now)
            while is_last and is_behind and time.monotonic() - now < LAST_S:
                is_behind = self._read(file, now)
            if is_behind:
                unfinished.add(file.source)
        if is_last or self._may_report(now):
            self._report_held(now, is_last=is_last)
        if now - self._shown >= PHASE_S and (self.step, self._total) != self._shown_of:
            self._show(now)

    def _find(self) -> None:
        new = []
        for name, (source, path) in self._wanted.items():
            for file in dict.fromkeys(self._files(source, path)):
                if (name, file) not in self._open and file not in self._foreign:
                    if is_foreign(file, self._places.environment.get(METRICS, "")):
                        self._foreign.add(file)
                    else:
                        new.append((_written(file), name, source.rank + (10 if path else 0), file))
        for _, name, rank, file in sorted(new):  # those of an earlier attempt first
            source, _ = self._wanted[name]
            opened = _Open(name, rank, source.open(file, self._places))
            opened.held = source.waits or self._goes_on
            self._open[name, file] = opened

    def _files(self, source: sources.Source, path: str) -> Iterator[Path]:
        try:
            if not path:
                yield from source.find(self._places)
                return
            named = (self._places.folders[-1] / path).resolve()  # no other link is followed
            if named.is_file():
                if _written(named) >= self._places.since:
                    yield named
            else:
                yield from source.find(replace(self._places, folders=(named,), log=None))
        except OSError:
            return  # a folder that comes or goes: the next search

    def _read(self, file: _Open, now: float) -> bool:
        """Read what is new of a file, and return whether more is left."""
        if file.is_broken:
            return False
        try:
            points = file.reader.read()
        except OSError:
            return False
        except Exception:  # what reads the numbers must not end the training
            print(f"finetop: the numbers of {file.source} can't be read any further:", flush=True)
            traceback.print_exc()
            file.is_broken = True
            return False
        if points:
            file.written = _written(file.reader.path)
            file.began = file.began or points[0].at or file.written
        if file.reader.total > 0 and file.reader.total != self._total and file.rank >= self._planned_by:
            self._planned_by = file.rank
            self._plan(file.reader)
        if file.held:
            file.waits += points
            if points and not self._held_since:
                self._held_since = now
        else:
            self._report(file, points, now)
        return file.reader.behind

    def _may_report(self, now: float) -> bool:
        if not self._held_since:
            return False
        return now - self._held_since >= HOLD_S or any(len(f.waits) > MOST_HELD for f in self._open.values())

    def _report_held(self, now: float, *, is_last: bool) -> None:
        """Report what has waited long enough, and let nothing of those files wait from now on."""
        waited = [file for file in self._open.values() if file.held and (file.waits or is_last)]
        points = [p for file in waited for p in file.waits if 0 <= p.step <= LARGEST_STEP]
        if self._goes_on and points:
            of_loss = [point.step for point in points if any(name_of(key) == LOSS for key in point.values)]
            self._goes_on, self._floor = False, max(0, min(of_loss or [p.step for p in points]) - 1)
            self._events.write(Resumed(self._floor))
        for file in sorted(waited, key=lambda file: -file.rank):
            held, file.waits, file.held = file.waits, [], False
            self._report(file, held, now)

    def _report(self, file: _Open, points: Sequence[Point], now: float) -> None:
        for point in merged(points):
            self._add(file, point, now)

    def _plan(self, reader: Reader) -> None:
        self._total = min(reader.total, LARGEST_STEP)
        epochs = reader.epochs if 0 <= reader.epochs <= LARGEST_STEP else 0.0
        self._events.write(Planned(self._total, epochs, 0, 0, 0, 0, 0))
        self._alarms.begin(self._total)

    def _add(self, file: _Open, point: Point, now: float) -> None:
        if not 0 <= point.step <= LARGEST_STEP:
            return
        if file.reader.is_of_one_process:
            point = file.counted_on(point)
        file.name_all(point.values)
        named = {name: value for key, value in point.values.items() if (name := file.names.get(key))}
        mine = {name: value for name, value in named.items() if self._is_its(file, name)}
        if any(self._goes_back(file, name, point.step) for name in mine):
            self._go_back(file, point.step)
        values = {name: value for name, value in mine.items() if self._is_new(file, name, point)}
        if not values:
            return
        self.read.add(file.source)
        self.step = max(self.step, point.step)
        self._first = self._first or (point.step, now)
        self._events.write(metrics(point.step, values))
        self._alarms.check(point.step, self._with_pace(point, values))

    def _is_its(self, file: _Open, name: str) -> bool:
        """Return whether a file may report a metric: it owns it, is a better source, or is of a later attempt."""
        owned = self._owned.get(name)
        if owned is None or owned.owner is file:
            return True
        if name in file.lost or file.rank < owned.owner.rank:
            return False
        return file.rank > owned.owner.rank or file.began > owned.at + RESTART_S

    def _goes_back(self, file: _Open, name: str, step: int) -> bool:
        """Return whether a value shows that the program began anew: by its loss, if it reports one."""
        if name != LOSS and LOSS in self._owned:
            return False
        owned = self._owned.get(name)
        if owned is None:
            return name == LOSS and step <= self._floor
        if owned.owner is file or file.rank == owned.owner.rank:
            return step < owned.step
        # A better source corrects steps that were guessed, unless that would discard what a third one reported.
        alone = all(other.owner is owned.owner or other.owner is file for other in self._owned.values())
        return owned.owner.reader.guesses and alone and step <= owned.step

    def _is_new(self, file: _Open, name: str, point: Point) -> bool:
        """Return whether a value is to be reported, and note that it is."""
        owned = self._owned.get(name)
        if owned is None and len(self._owned) >= MOST_KEYS:
            if not self._is_full:
                self._is_full = True
                print(f"finetop: only {MOST_KEYS} metrics are kept; {name} and others are not", flush=True)
            return False
        if point.step <= (self._floor if owned is None else owned.step):
            return False  # known; a better source owns what follows
        if owned is not None and owned.owner is not file and owned.owner.rank == file.rank:
            owned.owner.lost.add(name)
        self._owned[name] = _Owned(file, point.step, point.at or file.written)
        return True

    def _go_back(self, file: _Open, step: int) -> None:
        """Discard what was reported from a step on: the program began anew there."""
        for other in self._open.values():
            if other is not file:
                other.waits = []  # it may be of the time before
        print(
            f"finetop: the program goes on from step {step}; what it reported of later steps is dropped",
            flush=True,
        )
        self._events.write(Resumed(max(0, step - 1)))
        self._floor = min(self._floor, step - 1)
        self._owned = {name: owned for name, owned in self._owned.items() if owned.step < step}
        self._alarms.begin(self._total)
        self._first = self._stepped = None
        self.step = max(0, step - 1)

    def _with_pace(self, point: Point, values: dict[str, float]) -> dict[str, float]:
        """Add the seconds a step to values with a loss, by the program's clock, else by ours."""
        if LOSS not in values:
            return values
        at, before = point.at or time.time(), self._stepped
        self._stepped = (point.step, at)
        if before is None or point.step <= before[0] or at <= before[1]:
            return values
        return {**values, "step_s": (at - before[1]) / (point.step - before[0])}

    def _show(self, now: float) -> None:
        self._shown, self._shown_of = now, (self.step, self._total)
        first, began = self._first or (self.step, now)
        done = self.step - first
        left = self._total - self.step
        left_s = round((now - began) / done * left, 1) if done > 0 and left >= 0 and self._total else None
        total = float(self._total) if self._total else None
        self._events.write(Phase("training", float(self.step), total, "steps", left_s))


def merged(points: Iterable[Point]) -> Iterator[Point]:
    """Join neighbours of one step: an event file has a record for each value."""
    last: Point | None = None
    for point in points:
        if last is not None and point.step == last.step and not last.values.keys() & point.values.keys():
            last = point._replace(values={**last.values, **point.values})
            continue
        if last is not None:
            yield last
        last = point
    if last is not None:
        yield last


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
