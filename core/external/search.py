"""Finds the files that a program writes its numbers to, while it runs, and leaves out those of other commands."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.external import note, sources
from finetop.core.external.client import METRICS
from finetop.core.external.ownership import File, modified
from finetop.core.external.sources._tail import before_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from finetop.core.external.sources import Places

AUTO, NONE = "auto", "none"
SEARCH_S = 5.0  # between two searches, or longer: SEARCHES times the CPU time of a search
SEARCHES, LONGEST_S = 200, 60.0
OF_NAMED = 10  # ranks that a file gains if `command.metrics` names it


def wanted(settings: Sequence[str]) -> dict[str, str]:
    """Return the sources that `command.metrics` asks for, each with its path, or '' to find it."""
    if NONE in settings:
        return {}
    paths = dict.fromkeys(sources.names(), "") if AUTO in settings else {}
    named = (text.partition(":") for text in settings if text != AUTO)
    return {**paths, **{name: path for name, _, path in named}}


@dataclass
class Search:
    """The wanted sources and the places to search.

    `foreign` are files of other commands, `shared` those that another command reads too: two programs write to them,
    and nobody can tell their lines apart.
    """

    wanted: Mapping[str, str]
    places: Places
    foreign: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    _next_at: float = 0.0  # monotonic

    def is_due(self, now: float) -> bool:
        return now >= self._next_at

    def new_files(self, known: Mapping[str, File], now: float) -> list[File]:
        """Return the files that are not known yet, those of an earlier attempt first."""
        began = time.process_time()
        new = []
        for name, path in self.wanted.items():
            source = sources.load(name)
            for file in dict.fromkeys(self._files(source, path)):
                if key_of(name, file) in known or str(file) in self.foreign | self.shared:
                    continue
                if is_foreign(file, self.places.environment.get(METRICS, "")):
                    self.foreign.add(str(file))
                else:
                    new.append((modified(file), name, source.rank + OF_NAMED * bool(path), file))
        self._next_at = now + min(max(SEARCH_S, SEARCHES * (time.process_time() - began)), LONGEST_S)
        return [self.opened(name, rank, file) for _, name, rank, file in sorted(new)]

    def newly_shared(self, files: Iterable[File]) -> list[File]:
        """Return those of some files that another running command reads too."""
        own = self.places.environment.get(METRICS, "")
        doubtful = [
            file
            for file in files
            if sources.load(file.source).is_appended
            and str(file.reader.path) not in self.shared
            and file.reader.path.parent != Path(own).parent
        ]
        if not doubtful or not own:
            return []
        theirs = {path for folder in other_commands(own) for path in note.files_of(folder)}
        shared = [file for file in doubtful if str(file.reader.path) in theirs]
        for file in shared:
            self.shared.add(str(file.reader.path))
            print(
                f"finetop: another command writes to {file.reader.path} too: its numbers are left out from now on."
                " Give each command a folder of its own.",
                flush=True,
            )
        return shared

    def appended_files(self) -> dict[str, sources.Before]:
        """Return the files that are there before the program starts, and to which it may append."""
        before = {}
        for name, path in self.wanted.items():
            source = sources.load(name)
            for file in self._files(source, path) if source.is_appended else ():
                with contextlib.suppress(OSError):
                    before[str(file)] = before_of(file)
        return before

    def opened(self, name: str, rank: int, path: Path) -> File:
        """Return a file to be read from its beginning."""
        source = sources.load(name)
        return File(key_of(name, path), name, rank, source.open(path, self.places), held=source.waits)

    def _files(self, source: sources.Source, path: str) -> Iterator[Path]:
        try:
            if not path:
                yield from source.find(self.places)
                return
            named = (self.places.folders[-1] / path).resolve()  # no other link is followed
            if named.is_file():
                yield from filter(self.places.is_new, (named,))
            else:
                yield from source.find(replace(self.places, folders=(named,), log=None))
        except OSError:
            return  # a folder that comes or goes: the next search


def key_of(source: str, path: Path) -> str:
    return f"{source}:{path}"


def is_foreign(path: Path, own: str) -> bool:
    """Return whether a process that has a file open is of another command; `own` is this one's FINETOP_METRICS."""
    named = {metrics for metrics in map(_metrics_of, _writers(path)) if metrics}
    return bool(named) and own not in named


def other_commands(own: str) -> set[Path]:
    """Return the job folders of the commands that run besides this one."""
    named = {_metrics_of(process) for process in _processes()}
    return {Path(metrics).parent for metrics in named if metrics and metrics != own}


def _processes() -> Iterator[str]:
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            yield process.name


def _writers(path: Path) -> Iterator[str]:
    """Yield the processes of this user that have a file open."""
    try:
        target = path.stat()
    except OSError:
        return
    for process in _processes():
        try:
            with os.scandir(f"/proc/{process}/fd") as files:
                if any(os.path.samestat(file.stat(), target) for file in files):
                    yield process
        except OSError:
            continue  # another user's, or it has ended


def _metrics_of(process: str) -> str:
    try:
        environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    key = f"{METRICS}=".encode()
    return next((os.fsdecode(value[len(key) :]) for value in environment if value.startswith(key)), "")
