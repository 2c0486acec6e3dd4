"""Reads the numbers of a command's job into its events, so that a kill at any moment loses none and doubles none."""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.external import note as notes
from finetop.core.external.client import METRICS
from finetop.core.external.note import Note
from finetop.core.external.numbers import Numbers
from finetop.core.external.search import appended_files, wanted
from finetop.core.external.sources import Places
from finetop.core.external.sources._state import StateError
from finetop.core.external.writers import Writers
from finetop.core.recipe.command import output_of
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.files import read_if_there
from finetop.core.train.alarms import Alarms

if TYPE_CHECKING:
    from collections.abc import Callable

    from finetop.core.protocol.events import Event
    from finetop.core.recipe.job import Job
    from finetop.core.recipe.schema import Command

LATE_S = 5.0  # after the end, in which a file may still be written
PLACES = ("FINETOP_METRICS", "TRACKIO_DIR", "HF_HOME", "WANDB_DIR")  # variables that say where files go


class Reading:
    """The numbers of one attempt, noted before they are reported."""

    def __init__(
        self, job: Job, note: Note, spent_s: Callable[[], float], *, until: float = math.inf
    ) -> None:
        recipe = job.recipe()
        command = recipe.command
        assert command is not None
        self._job, self._note = job, note
        self._events: list[Event] = []  # of this look
        self._state = b""  # as noted last
        self._is_noted = True
        self._writing, self._is_left = threading.Lock(), False
        collected = EventLog(None, self._events.append)
        self.alarms = Alarms(recipe, collected)
        self.alarms.begin(0)
        environment = {key: os.fsdecode(value) for key, value in note.environment.items()}
        folders, log = folders_of(command, job.folder), job.folder / "log.txt"
        places = Places(
            folders,
            log,
            note.began - 1.0,
            note.log_begins,
            environment,
            {os.fsdecode(path): before for path, before in note.before.items()},
            until,
            pattern=command.pattern or "",
        )
        self.numbers = Numbers(
            wanted(command.metrics),
            places,
            Writers(os.getpid(), environment.get(METRICS, "")),
            collected,
            self.alarms,
            private=(job.folder,),
            goes_on=note.goes_on,
            spent_s=spent_s,
        )

    def note(self, pid: int = 0) -> None:
        """Note that the reading has begun, and who works in the folders; then the program's process."""
        self.numbers.look_around(pid)
        state = msgspec.Raw(msgspec.msgpack.encode(self.numbers.state()))
        self._write(msgspec.structs.replace(self._note, numbers=state))

    def read_new(self, is_last: bool = False) -> None:
        """Read what is new; at last, everything."""
        self.numbers.read_new(is_last=is_last)
        with self._writing:
            if self._is_left:
                return
            self._report()
            if is_last:
                notes.remove(self._job.folder)

    def leave(self) -> None:
        """Report nothing more, also if a read in another thread goes on: what is left is not read again."""
        with self._writing:
            self._is_left = True
            notes.remove(self._job.folder)

    def _report(self) -> None:
        """Note the state and the events of the last look, then write these."""
        state = msgspec.msgpack.encode(self.numbers.state())
        log = self._job.events
        if self._events or state != self._state:
            self._state = state
            now = {"after": log.number, "events": self._events, "numbers": msgspec.Raw(state)}
            self._write(msgspec.structs.replace(self._note, **now))
        for event in self._events:
            log.write(event)
        self._events.clear()

    def _write(self, note: Note) -> None:
        try:
            notes.write(self._job.folder, note)
        except OSError as error:  # a full disk: if the job is killed now, everything is read again
            if self._is_noted:
                print(f"finetop: can't note what was read: {error.strerror}", flush=True)
            self._is_noted = False


def folders_of(command: Command, *more: Path) -> tuple[Path, ...]:
    """Return the folders in which a command's files are searched, its output first."""
    folders = (output_of(command), *more, Path(command.workdir))
    return tuple(dict.fromkeys(folder for folder in folders if folder is not None))


def begin(
    job: Job, *, attempt: int, goes_on: bool, environment: dict[str, str], spent_before_s: float
) -> Reading:
    """Return the reading of a command that is about to start."""
    log = job.folder / "log.txt"
    began = time.monotonic()
    command = job.recipe().command
    assert command is not None
    places = Places(folders_of(command, job.folder), log, environment=environment)
    note = Note(
        attempt=attempt,
        began=time.time(),
        spent_before_s=spent_before_s,
        log_begins=log.stat().st_size if log.exists() else 0,
        environment={key: os.fsencode(environment[key]) for key in PLACES if key in environment},
        before={
            os.fsencode(path): before
            for path, before in appended_files(wanted(command.metrics), places).items()
        },
        goes_on=goes_on,
        after=job.events.number,
    )
    reading = Reading(job, note, lambda: spent_before_s + time.monotonic() - began)
    reading.note()
    return reading


def finish(job: Job) -> None:
    """Read what an attempt left unread that was killed; nothing if there is none."""
    note = notes.read(job.folder)
    if note is None:
        notes.remove(job.folder)
        return
    exited = _exited(job.folder, note)
    spent_s = note.spent_before_s + max(0.0, (exited or _last_written(job.folder, note)) - note.began)
    until = exited + LATE_S if exited else math.inf
    missing = note.after + len(note.events) - job.events.number
    is_exact = 0 <= missing <= len(note.events)
    for event in note.events[len(note.events) - missing :] if is_exact else ():
        job.events.write(event)
    reading = Reading(job, note, lambda: spent_s, until=until)
    try:
        if not is_exact:
            raise StateError("events are missing, or the disk was full when it was noted")
        if (state := msgspec.msgpack.decode(note.numbers)) is not None:
            reading.numbers.go_on(state)
    except StateError:  # everything of the attempt again, as a later attempt would
        reading = Reading(job, msgspec.structs.replace(note, goes_on=True), lambda: spent_s, until=until)
    reading.read_new(is_last=True)


def _exited(folder: Path, note: Note) -> float:
    """Return when an attempt ended, as its keeper noted; 0 if it did not."""
    try:
        facts = msgspec.json.decode(read_if_there(folder / "exit.json") or b"{}")
        return float(facts["ended"]) if facts.get("attempt") == note.attempt else 0.0
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0.0


def _last_written(folder: Path, note: Note) -> float:
    names = ("events.jsonl", "log.txt", "metrics.jsonl")
    return max(
        (file.stat().st_mtime for file in map(folder.joinpath, names) if file.exists()), default=note.began
    )
