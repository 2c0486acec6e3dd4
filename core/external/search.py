"""Finds the files that a program writes its numbers to, while it runs, and leaves out those of other commands."""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.external import configuration, note, sources
from finetop.core.external.ownership import File, modified
from finetop.core.external.sources import Evidence, Proof
from finetop.core.external.sources._tail import before_of
from finetop.core.protocol.numbers_from import FilesLeftOut, NumbersFrom, ReadFile
from finetop.core.runtime.files import open_regular
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from finetop.core.external.ownership import Owners
    from finetop.core.external.sources import Places
    from finetop.core.external.writers import Stranger, Writers

AUTO, NONE = "auto", "none"
SEARCH_S = 5.0  # between two searches, or longer: SEARCHES times the CPU time of a search
SEARCHES, LONGEST_S = 200, 60.0
MOST_DOUBTS = 200  # files that are left out and looked at more often than they are searched for
MOST_PRINTED = 4 << 20  # bytes of the log in which names of runs are searched at a time
MOST_SHOWN, MOST_FOREIGN = 200, 10_000
OF_NAMED = 10  # ranks that a file gains if `command.metrics` names it


def wanted(settings: Sequence[str]) -> dict[str, str]:
    """Return the sources that `command.metrics` asks for, each with its path, or '' to find it."""
    if NONE in settings:
        return {}
    paths = dict.fromkeys(sources.names(), "") if AUTO in settings else {}
    named = (text.partition(":") for text in settings if text != AUTO)
    return {**paths, **{name: path for name, _, path in named}}


@dataclass(frozen=True)
class LeftOut:
    """A file that is not read, and why."""

    source: str
    path: Path
    rank: int
    proof: Proof


@dataclass
class Search:
    """The wanted sources, the places to search, and the processes that may write there.

    `shared` are files that another program may write to as well: nobody can tell their lines apart, unless a process
    is seen to write them.
    """

    wanted: Mapping[str, str]
    places: Places
    writers: Writers
    private: tuple[Path, ...] = ()  # folders and files that nobody else writes to
    shared: set[str] = field(default_factory=set)
    foreign: dict[str, str] = field(
        default_factory=dict
    )  # files that another process was seen to write, and why
    left_out: dict[str, LeftOut] = field(default_factory=dict)  # by key
    written_since: float = (
        0.0  # outside of the output, a file must have been written since then to be believed
    )
    _searched: float = 0.0  # when, in seconds since 1970
    _absent: dict[str, float] = field(
        default_factory=dict
    )  # files, and when they were searched for in vain last
    _printed: set[str] = field(default_factory=set)
    _printed_to: int = -1  # bytes of the log
    _next_at: float = 0.0  # monotonic

    def __post_init__(self) -> None:
        self.writers.folders = tuple(os.path.realpath(folder).rstrip("/") for folder in self.places.folders)

    def is_due(self, now: float) -> bool:
        return now >= self._next_at

    def new_files(self, known: Mapping[str, File], now: float) -> list[File]:
        """Return the program's files that are not known yet, those of an earlier attempt first."""
        began = time.process_time()
        self.writers.look(at_all=True)
        new, left_out = [], {}
        for name, path in self.wanted.items():
            source = sources.load(name)
            rank = source.rank + OF_NAMED * bool(path)
            for file in dict.fromkeys(files_of(source, path, self.places)):
                key = key_of(name, file)
                if key in known or (proof := self.proof_of(source, file, is_named=bool(path))) is None:
                    continue
                if proof.is_own:
                    new.append((modified(file), name, rank, file, proof))
                else:
                    left_out[key] = LeftOut(name, file, rank, proof)
        self.left_out = {**left_out, **{key: one for key, one in self.left_out.items() if key in known}}
        self._searched = time.time()
        self._next_at = now + min(max(SEARCH_S, SEARCHES * (time.process_time() - began)), LONGEST_S)
        return [self.opened(name, rank, file, proof) for _, name, rank, file, proof in sorted(new)]

    def newly_proven(self) -> list[File]:
        """Look at the program's processes, and return the files that were left out and are seen to be its own."""
        self.writers.look(at_all=False)
        proven = []
        for key, one in list(self.left_out.items())[:MOST_DOUBTS]:
            source = sources.load(one.source)
            if one.proof.is_foreign or not (
                one.proof.is_locked
                or any(self.writers.has_open(one.path))
                or self.writers.has_written(one.path)
            ):
                continue
            proof = self.proof_of(source, one.path, is_named=one.rank != source.rank)
            if proof is not None and not proof.is_own:
                self.left_out[key] = replace(one, proof=proof)
                continue
            del self.left_out[key]
            if proof is not None:
                proven.append(self.opened(one.source, one.rank, one.path, proof))
        return proven

    def is_waiting(self) -> bool:
        """Return whether a file was locked, so that it is not known yet whose it is."""
        return any(one.proof.is_locked for one in self.left_out.values())

    def proof_of(self, source: sources.Source, file: Path, *, is_named: bool) -> Proof | None:
        """Return whether a file is the program's, by its processes, else since nobody else works in its folder."""
        if self.places.is_late(file) and not self._is_private(file):
            proof = Proof(False, "it was written after this program had ended")
        else:
            proof = self._by_process(source, file) or self._by_place(source, file, is_named=is_named)
        self._note_foreign(file, proof)
        return source.of_run(file, self.places, proof, self._evidence)

    def _note_foreign(self, file: Path, proof: Proof) -> None:
        if proof.is_foreign and len(self.foreign) < MOST_FOREIGN:
            self.foreign[str(file)] = proof.why

    def _evidence(self) -> Evidence:
        output = self.places.folders[:-1][:1]
        is_shared = self.writers.stranger_in(output) is not None
        return Evidence(self._names_printed(), self.writers.names(), () if is_shared else output)

    def _by_process(self, source: sources.Source, file: Path) -> Proof | None:
        mine, theirs = self.writers.has_open(file)
        if mine and theirs:
            return Proof(False, f"{self.writers.name_of(theirs)} writes to it too", writer=theirs)
        if self._is_private(file):
            return Proof(True, "it is the run's own", by_process=True)
        if mine:
            return Proof(True, f"{self.writers.name_of(mine)} has it open", by_process=True)
        if theirs and not self.writers.is_unknown:
            return Proof(False, f"{self.writers.name_of(theirs)} writes it", is_foreign=True, writer=theirs)
        if why := self.foreign.get(str(file)):
            return Proof(False, why, is_foreign=True)
        if self.writers.has_written(file):
            return Proof(True, "the program had it open", by_process=True)
        writer = source.writer_in(file)
        if writer in self.writers.seen:
            return Proof(True, f"process {writer} wrote it", by_process=True)
        if (
            writer and not self.writers.is_unknown
        ):  # also of one that has ended: every other one is another program's
            return Proof(False, f"{self.writers.name_of(writer)} wrote it", is_foreign=True, writer=writer)
        return None

    def _by_place(self, source: sources.Source, file: Path, *, is_named: bool) -> Proof:
        if is_named:
            return Proof(True, "command.metrics names it")
        between = self._between(file)
        if not between:
            return Proof(False, "all programs write there, and no process of this one was seen to")
        if other := self.writers.stranger_in(between, self._absent.setdefault(str(file), self._searched)):
            self.shared.add(str(file))
            return Proof(False, f"{other} works in its folder too")
        if str(file) in self.shared:
            return Proof(False, "another program worked in its folder too")
        in_output = len(self.places.folders) > 1 and self.places.folders[0] in file.parents
        if source.is_appended and not in_output and modified(file) < self.written_since:
            return Proof(False, "nothing was written to it since the watch began")
        return Proof(True, "no other program works in its folder")

    def _between(self, file: Path) -> list[Path]:
        """Return the folders from a file up to the program's folder that it is in; empty outside of these."""
        place = next((place for place in self.places.folders if file == place or place in file.parents), None)
        if place is None:
            return []
        return [folder for folder in (file, *file.parents) if folder == place or place in folder.parents]

    def _is_private(self, file: Path) -> bool:
        return any(file == own or own in file.parents for own in self.private)

    def _names_printed(self) -> set[str]:
        """Return the names of runs and projects that the program has printed so far."""
        if (log := self.places.log) is None:
            return self._printed
        if self._printed_to < 0:
            self._printed_to = self.places.log_begins
        with contextlib.suppress(OSError), open_regular(log) as file:
            text = os.pread(file.fileno(), MOST_PRINTED, self._printed_to)
            whole = text.rfind(b"\n") + 1
            self._printed_to += whole
            printed = text[:whole].decode("utf-8", "replace")
            patterns = filter(None, (sources.load(name).names_run for name in self.wanted))
            self._printed |= {name for pattern in patterns for name in pattern.findall(printed)}
        return self._printed

    def disproven(self, files: Iterable[File]) -> list[tuple[File, bool]]:
        """Return the files that another program writes to, of those that are read: left out from now on.

        With each whether all that was read of it is to be taken back: it may have been the other's all along.
        """
        theirs = {path for folder in self.writers.other_jobs() for path in note.files_of(folder)}
        found = []
        for file in files:
            path, source = file.reader.path, sources.load(file.source)
            if file.is_broken:
                continue
            known = Proof(True, file.why, by_process=file.is_proven)
            if source.is_appended and not file.is_proven and str(path) in theirs:
                known = Proof(False, "another command writes to it too")
            run = self.places.runs.get(str(path), "")
            proof = source.of_run(path, self.places, self._by_process(source, path) or known, self._evidence)
            is_other_run = run != self.places.runs.get(str(path), "")
            if proof is None or proof.is_locked or (proof.is_own and not is_other_run):
                continue
            self.shared.add(str(path))
            self._note_foreign(path, proof)
            if not proof.is_own:
                self.left_out[file.key] = LeftOut(file.source, path, file.own_rank, proof)
            was_alone = not proof.writer or self.writers.began(proof.writer) > file.opened
            from_now_on = source.is_appended and (file.is_proven or was_alone)
            found.append((file, not from_now_on))
        return found

    def leave_out(self, file: File, why: str) -> None:
        self.shared.add(str(file.reader.path))
        self.left_out[file.key] = LeftOut(file.source, file.reader.path, file.own_rank, Proof(False, why))

    def why_left_out(self, file: File) -> str:
        one = self.left_out.get(file.key)
        return one.proof.why if one is not None else "it has another run of this program"

    def shown(self, path: Path) -> str:
        """Return a path as it is shown: below the folder that the program works in, its output, its job, or ~."""
        for folder in reversed(self.places.folders):
            if folder in (path, *path.parents):
                return plain(str(path.relative_to(folder)))
        home = Path(os.environ.get("HOME") or "/")
        is_below = home in path.parents and home != Path("/")
        return plain(str(Path("~") / path.relative_to(home)) if is_below else str(path))

    def numbers_from(self, files: Iterable[File], owners: Owners) -> NumbersFrom:
        """Return where the numbers are read from, and what was left out."""
        read: list[ReadFile] = []
        settings: configuration.Settings = {}
        for file in sorted(files, key=lambda file: file.own_rank):
            names = {name for name in file.names.values() if name}
            config = {} if file.is_broken else file.reader.config
            own = {name for name in names if (owned := owners.owned.get(name)) and owned.owner is file}
            if (names or config) and not file.is_broken and len(read) < MOST_SHOWN:
                shown, metrics = self.shown(file.reader.path), (sorted(own), sorted(names - own))
                read.append(ReadFile(file.source, shown, file.why, *metrics, len(config)))
                configuration.add(settings, config)
        by_folder: dict[tuple[str, Path, str], list[Path]] = {}
        for one in self.left_out.values():
            by_folder.setdefault((one.source, one.path.parent, one.proof.why), []).append(one.path)
        left_out = [
            FilesLeftOut(source, self.shown(paths[0] if len(paths) == 1 else folder), len(paths), why)
            for (source, folder, why), paths in by_folder.items()
        ]
        return NumbersFrom(read, left_out[:MOST_SHOWN], settings)

    def strangers(self) -> list[tuple[int, str, list[bytes], float]]:
        """Return the processes of others that work in the program's folders, and the minute they were last there."""
        return [
            (*other[:2], list(map(os.fsencode, other.folders)), math.ceil(last / 60) * 60.0)
            for other, last in self.writers.met.values()
        ]

    def is_doubtful(self, file: File) -> Stranger | None:
        """Return a program that may write to a file which was believed since no other worked in its folder."""
        if file.is_proven or self._is_private(file.reader.path):
            return None
        return self.writers.stranger_in(self._between(file.reader.path))

    def opened(self, name: str, rank: int, path: Path, proof: Proof) -> File:
        """Return a file to be read from its beginning."""
        source = sources.load(name)
        reader = source.open(path, self.places)
        return File(key_of(name, path), name, rank, reader, proof.why, proof.by_process, held=source.waits)

    def opened_anew(self, file: File) -> File:
        proof = Proof(True, file.why, by_process=file.is_proven)
        return self.opened(file.source, file.own_rank, file.reader.path, proof)


def appended_files(wanted: Mapping[str, str], places: Places) -> dict[str, sources.Before]:
    """Return the files that are there before the program starts, and to which it may append."""
    before = {}
    for name, path in wanted.items():
        source = sources.load(name)
        for file in files_of(source, path, places) if source.is_appended else ():
            with contextlib.suppress(OSError):
                before[str(file)] = before_of(file)
    return before


def files_of(source: sources.Source, path: str, places: Places) -> Iterator[Path]:
    """Yield the files of a source that are there now; `path` is the one that is named, or empty."""
    try:
        if not path:
            yield from source.find(places)
            return
        named = (places.folders[-1] / path).resolve()  # no other link is followed
        if named.is_file():
            yield from filter(places.is_new, (named,))
        else:
            yield from source.find(replace(places, folders=(named,), log=None))
    except (OSError, RuntimeError):
        return  # a folder that comes or goes: the next search; ~ of a user without a home


def key_of(source: str, path: Path) -> str:
    return f"{source}:{path}"
