"""Reads a program's numbers from every source that is there and reports each value once, as events of its run."""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.external import merging, search
from finetop.core.external.merging import Counted
from finetop.core.external.ownership import Owned, Owners, modified
from finetop.core.external.progress import LARGEST_STEP, Progress
from finetop.core.external.sources import Point, Proof
from finetop.core.external.sources._state import StateError, set_state, state_of
from finetop.core.external.writers import Stranger
from finetop.core.protocol.events import (
    NO_NUMBERS,
    NOT_READABLE,
    NOTHING_READ,
    SKIPPED_OUTPUT,
    Alarm,
    Planned,
    Resumed,
    TakenBack,
    metrics,
)
from finetop.core.protocol.metric_names import LOSS, name_of
from finetop.core.protocol.numbers_from import NumbersFrom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from finetop.core.external.ownership import File
    from finetop.core.external.sources import Places, Reader
    from finetop.core.external.writers import Writers
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.train.alarms import Alarms

LAST_S = 30.0  # for what is left to read at the end
AGAIN_S = 0.2  # between two tries of a file that another program has locked
LOCKED = "another program has it locked."
HOLD_S = 8.0  # how long a weak source waits for a better one (searched for every 5 s), a later attempt for all of its
FLOOD = "it prints faster than its numbers can be read. Print less, or name a file with --metrics"
SILENT_LINES, SILENT_S = 50, 60.0  # printed without a number, or for so long, which is reported
MOST_LATE = 1000  # points of a file that wait for a better one
MOST_HELD = 10_000  # points that wait
ELSEWHERE = ("key", "source", "own_rank", "reader")  # what a state has of a file besides its own attributes


class Numbers:
    """Everything that is read of one program while it runs."""

    def __init__(
        self,
        wanted: Mapping[str, str],
        places: Places,
        writers: Writers,
        events: EventLog,
        alarms: Alarms,
        *,
        private: tuple[Path, ...] = (),
        written_since: float = 0.0,
        goes_on: bool = False,
        spent_s: Callable[[], float] | None = None,
    ) -> None:
        self._search = search.Search(wanted, places, writers, private, written_since=written_since)
        self._events, self._alarms = events, alarms
        self._files: dict[str, File] = {}
        self._owners, self._progress = Owners(), Progress()
        # an earlier attempt has reported steps, of which this one discards the later ones
        self._goes_on = goes_on
        self._began = time.monotonic()
        self._has_nothing = False  # it was reported that nothing was recognised
        self._skipped = 0  # bytes that were not read, as reported
        self._looked = 0.0  # monotonic
        self._first = 0  # step of this attempt
        self._told = NumbersFrom([])
        self._held_since = 0.0  # monotonic; 0: nothing has been held yet
        self._spent_s = spent_s  # how long the run has been trained, by all its attempts
        self.read: set[str] = set()  # names of the sources that had numbers

    def look_around(self, pid: int = 0) -> None:
        """Note who works in the folders before the program begins; then the program's process, once it has one."""
        self._search.writers.look(at_all=False)
        self._search.writers.seen |= {pid} - {0}

    @property
    def step(self) -> int:
        """The last step."""
        return self._progress.step

    @property
    def processes(self) -> set[int]:
        """All processes of the program that were seen."""
        return self._search.writers.seen

    def read_new(self, *, is_last: bool = False) -> None:
        """Read what is new. With `is_last` nothing waits any longer for a better source."""
        now = self._looked = time.monotonic()
        is_due = is_last or self._search.is_due(now)
        self._take(self._search.new_files(self._files, now) if is_due else self._search.newly_proven())
        while is_last and self._search.is_waiting() and time.monotonic() - now < LAST_S:
            time.sleep(AGAIN_S)
            self._take(self._search.newly_proven())
        for file, is_to_be_taken_back in self._search.disproven(self._files.values()) if is_due else ():
            self._leave_out(file, is_to_be_taken_back=is_to_be_taken_back)
        unfinished = set()  # sources with an earlier file that is not read to its end
        for file in sorted(self._files.values(), key=lambda file: -file.own_rank):
            if file.source in unfinished:
                continue
            is_behind = self._read(file, now)
            while is_last and (is_behind or file.is_locked) and time.monotonic() - now < LAST_S:
                time.sleep(AGAIN_S if file.is_locked else 0.0)
                is_behind = self._read(file, now)
            if is_behind:
                unfinished.add(file.source)
            if is_last and (is_behind or file.is_locked):
                why = LOCKED if file.is_locked else FLOOD
                print(
                    f"finetop: {file.source}: after {LAST_S:g} s its end is still unread: {why}", flush=True
                )
        self._report_skipped(is_last=is_last)
        if is_last or self._may_report(now):
            self._report_held(is_last=is_last)
        self._lead(now, is_last=is_last)
        if (numbers_from := self._search.numbers_from(self._files.values(), self._owners)) != self._told:
            self._told = numbers_from
            self._events.write(numbers_from)
        self._report_nothing_read(now)
        if self._progress.is_due(now) or is_last:
            spent_s = None if self._spent_s is None else round(self._spent_s(), 1)
            self._events.write(self._progress.phase(now, spent_s))

    def _take(self, files: Iterable[File]) -> None:
        for file in files:
            file.held = file.held or self._goes_on
            self._files[file.key] = file

    def state(self) -> dict[str, Any]:
        """Return what was read and reported so far, as plain data."""
        places = {id(file): place for place, file in enumerate(self._files.values())}
        return {
            "files": [
                (
                    file.source,
                    file.own_rank,
                    os.fsencode(file.reader.path),  # a name need not be UTF-8
                    file.reader.state(),
                    state_of(file, without=ELSEWHERE),
                )
                for file in self._files.values()
            ],
            "owned": {
                name: (places[id(owned.owner)], owned.step, owned.at, owned.reached, owned.told)
                for name, owned in self._owners.owned.items()
            },
            "owners": state_of(self._owners, without=("owned",)),
            "progress": state_of(self._progress),
            "processes": sorted(self._search.writers.seen),
            "written": [(*key, os.fsencode(file)) for key, file in self._search.writers.written.items()],
            "strangers": self._search.strangers(),
            "runs": {os.fsencode(file): run for file, run in self._search.places.runs.items()},
            "shared": sorted(map(os.fsencode, self._search.shared)),
            "foreign": {os.fsencode(file): why for file, why in self._search.foreign.items()},
            "goes_on": self._goes_on,
            "first": self._first,
            "told": msgspec.to_builtins(self._told),
            "has_nothing": self._has_nothing,
            "skipped": self._skipped,
            "read": sorted(self.read),
        }

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of another process that read the same program. Raises StateError."""
        try:
            self._search.places.runs.update({os.fsdecode(file): run for file, run in state["runs"].items()})
            self._search.writers.seen.update(state["processes"])
            self._search.writers.written |= {
                (device, inode): os.fsdecode(file) for device, inode, file in state["written"]
            }
            for pid, name, folders, last in state["strangers"]:
                self._search.writers.met[pid] = Stranger(pid, name, tuple(map(os.fsdecode, folders))), last
            self._search.shared = set(map(os.fsdecode, state["shared"]))
            self._search.foreign = {os.fsdecode(file): why for file, why in state["foreign"].items()}
            for source, rank, path, of_reader, own in state["files"]:
                file = self._search.opened(source, rank, Path(os.fsdecode(path)), Proof(True, own["why"]))
                file.reader.go_on(of_reader)
                set_state(file, own)
                file.waits = [Point(*point) for point in own["waits"]]
                file.late = [(at, Point(*point)) for at, point in own["late"]]
                file.counted = None if own["counted"] is None else Counted(*own["counted"])
                self._files[file.key] = file
            files = list(self._files.values())
            for name, (place, *rest) in state["owned"].items():
                self._owners.owned[name] = Owned(files[place], *rest)
            set_state(self._owners, state["owners"])
            set_state(self._progress, state["progress"])
            self._goes_on, self.read = bool(state["goes_on"]), set(state["read"])
            self._first = int(state["first"])
            self._told = msgspec.convert(state["told"], NumbersFrom)
            self._has_nothing, self._skipped = bool(state["has_nothing"]), int(state["skipped"])
        except (LookupError, TypeError, ValueError, AttributeError, msgspec.ValidationError) as error:
            raise StateError(str(error)) from error
        self._alarms.begin(self._progress.total)

    def _read(self, file: File, now: float) -> bool:
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
            file.written = modified(file.reader.path)
            file.began = file.began or points[0].at or file.written
        if self._progress.plan(file.reader.total, file.rank):
            self._plan(file.reader)
        if file.held:
            file.waits += points
            if points and not self._held_since:
                self._held_since = now
        else:
            self._report(file, points)
        return file.reader.behind

    def _may_report(self, now: float) -> bool:
        is_full = any(len(file.waits) > MOST_HELD for file in self._files.values())
        return is_full or now - self._held_since >= HOLD_S

    def _report_held(self, *, is_last: bool) -> None:
        """Report what has waited long enough, and let nothing of those files wait from now on."""
        waited = [file for file in self._files.values() if file.held and (file.waits or is_last)]
        points = [p for file in waited for p in file.waits if 0 <= p.step <= LARGEST_STEP]
        if self._goes_on and points:
            of_loss = [point.step for point in points if any(name_of(key) == LOSS for key in point.values)]
            self._goes_on = False
            self._owners.floor = max(0, min(of_loss or [p.step for p in points]) - 1)
            self._first = self._owners.floor + 1 if self._owners.floor else 0
            self._events.write(Resumed(self._owners.floor))
        for file in sorted(waited, key=lambda file: -file.rank):
            held, file.waits, file.held = file.waits, [], False
            self._report(file, held)

    def _report_nothing_read(self, now: float) -> None:
        """Raise an alarm if a program prints and nothing of it is recognised, or where its output can't be read.

        The first number closes it.
        """
        has_numbers = bool(self.read) or any(file.waits for file in self._files.values())
        if self._has_nothing and self.read:
            self._has_nothing = False
            self._events.write(Alarm(NO_NUMBERS, self.step, "numbers are read now", over=True))
        elif not self._has_nothing and not has_numbers and self._search.wanted:
            lines = sum(file.reader.lines for file in self._files.values())
            is_unreadable = self._search.places.log is None
            if lines >= SILENT_LINES or ((lines or is_unreadable) and now - self._began >= SILENT_S):
                self._has_nothing = True
                why = NOT_READABLE if is_unreadable else NOTHING_READ
                self._events.write(Alarm(NO_NUMBERS, 0, why))
                print(f"finetop: {why}", flush=True)

    def _report_skipped(self, *, is_last: bool) -> None:
        """Raise an alarm once a part of what the program wrote is passed over, and at last with how much in all."""
        skipped = sum(file.reader.passed_over + is_last * file.reader.left for file in self._files.values())
        if skipped <= self._skipped or (self._skipped and not is_last):
            return
        text = f"{skipped:,} bytes of its output were not read, and steps in them are missing: {FLOOD}"
        if self._skipped:
            self._events.write(Alarm(SKIPPED_OUTPUT, self.step, "see the next one", over=True))
        self._skipped = skipped
        self._events.write(Alarm(SKIPPED_OUTPUT, self.step, text))
        print(f"finetop: {text}", flush=True)

    def _report(self, file: File, points: Sequence[Point]) -> None:
        joined = [point for point in merged(points) if 0 <= point.step <= LARGEST_STEP]
        if file.reader.is_of_one_process:
            joined = list(map(file.counted_on, joined))
        for point in joined:
            file.name_all(point.values)
        losses = [
            (point.step, value)
            for point in joined
            for key, value in point.values.items()
            if file.names.get(key) == LOSS
        ]
        file.losses = [*file.losses, *losses][-merging.MOST_LOSSES :]
        if losses:
            self._correct_guesses(file)
        for point in joined:
            self._report_point(file, point)

    def _correct_guesses(self, file: File) -> None:
        """Compare what a file tells with steps that were guessed: keep them if they are right, else drop them."""
        owned = self._owners.owned.get(LOSS)
        for other in self._files.values() if owned is not None else ():
            if owned is None or other.rank >= file.rank or not other.reader.guesses:
                continue
            counted = merging.counted(file.losses, other.losses, guesses=True)
            if counted is None:
                continue
            if owned.owner is other and counted.is_same:
                self._owners.hand_over(other, file)
            elif owned.owner is other and self._owners.are_alone(other, file):
                self._go_back(file, self._owners.first_of(other))
            elif owned.owner is file and other.counted and other.counted.of(counted.guess) != counted.step:
                self._go_back(file, owned.step + 1)
            other.counted = counted

    def _lead(self, now: float, *, is_last: bool) -> None:
        """Report what other files have told of the steps that the owner of the loss has not come to yet."""
        owned = self._owners.owned.get(LOSS)
        for file in self._files.values() if owned is not None else ():
            if owned is None or file is owned.owner or file.is_broken or not file.late:
                continue
            guesses = file.reader.guesses
            if file.counted is None or guesses:
                file.counted = (
                    merging.counted(owned.owner.losses, file.losses, guesses=guesses) or file.counted
                )
            if file.counted is None:
                continue
            ready = [point for at, point in file.late if is_last or now - at >= merging.LEAD_S]
            file.late = file.late[len(ready) :]
            for point in ready:
                if 0 <= (step := file.counted.of(point.step)) <= LARGEST_STEP:
                    named = self._named(file, point)
                    values = {
                        name: value for name, value in named.items() if self._owners.may_lead(name, step)
                    }
                    self._write(file, point._replace(step=step), values)

    def _plan(self, reader: Reader) -> None:
        epochs = reader.epochs if 0 <= reader.epochs <= LARGEST_STEP else 0.0
        self._events.write(Planned(self._progress.total, epochs, 0, 0, 0, 0, 0))
        self._alarms.begin(self._progress.total)

    def _report_point(self, file: File, point: Point) -> None:
        if file.is_broken:
            return
        named = self._named(file, point)
        mine = {name: value for name, value in named.items() if self._owners.may_report(file, name)}
        if any(self._owners.goes_back(file, name, point.step) for name in mine):
            if (other := self._search.is_doubtful(file)) is not None:
                self._search.leave_out(file, f"{other} works in its folder too, and its steps start over")
                self._leave_out(file, is_to_be_taken_back=False)
                return
            self._go_back(file, min(point.step, self._owners.first_guess(file)))
        values = {name: value for name, value in mine.items() if self._owners.is_new(file, name, point)}
        if len(mine) < len(named) or file.reader.guesses:  # a better file has them, or may yet have
            file.late.append((self._looked, point))
            del file.late[: -MOST_LATE if len(file.late) > 2 * MOST_LATE else 0]
        self._write(file, point, values)

    def _named(self, file: File, point: Point) -> dict[str, float]:
        return {name: value for key, value in point.values.items() if (name := file.names.get(key))}

    def _write(self, file: File, point: Point, values: dict[str, float]) -> None:
        """Report values at a step."""
        if not values:
            return
        self.read.add(file.source)
        at = point.at or file.written
        self._progress.reach(point.step, at)
        self._events.write(metrics(point.step, values))
        if (
            LOSS in values
            and self._progress.last_loss is not None
            and point.step < self._progress.last_loss[0]
        ):
            return  # between steps that another file has told: alarms watch them in order
        step_s = self._progress.step_s(point.step, at) if LOSS in values else None
        self._alarms.check(point.step, values if step_s is None else {**values, "step_s": step_s})

    def _leave_out(self, file: File, *, is_to_be_taken_back: bool) -> None:
        """Read a file no further, and take back what was read of it if it may have been another program's."""
        shown = self._search.shown(file.reader.path)
        why = self._search.why_left_out(file)
        if is_to_be_taken_back and file.names:
            print(f"finetop: {shown}: {why}: its numbers are taken back", flush=True)
            self._take_back(file, shown, why)
        else:
            print(f"finetop: {shown}: {why}: its numbers are left out from now on", flush=True)
            file.is_broken, file.waits, file.late = True, [], []

    def _take_back(self, file: File, shown: str, why: str) -> None:
        """Discard what this attempt has reported, and read the other files again."""
        self._events.write(TakenBack(self._first, shown, why))
        files, self._files = self._files, {}
        for other in files.values():
            if other is not file and not other.is_broken:
                self._files[other.key] = self._search.opened_anew(other)
        if self._progress.total:
            self._events.write(Planned(0, 0.0, 0, 0, 0, 0, 0))
        self._owners, self._progress = Owners(floor=self._first - 1), Progress()
        self._alarms.begin(0)
        self._alarms.loss = 0.0

    def _go_back(self, file: File, step: int) -> None:
        """Discard what was reported from a step on: the program started over there."""
        for other in self._files.values():
            if other is not file:
                other.waits = []  # it may be of the time before
                if not other.reader.guesses:
                    other.late = []
        print(
            f"finetop: the program goes on from step {step}; what it reported of later steps is dropped",
            flush=True,
        )
        self._events.write(Resumed(max(0, step - 1)))
        self._owners.go_back(step)
        self._alarms.begin(self._progress.total)
        self._progress.go_back(step)


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
