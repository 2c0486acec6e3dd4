"""What a training program prints or writes its numbers to: a file each, found by listing this folder."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from dataclasses import dataclass, field
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, NamedTuple

from finetop.core.external.configuration import Settings
from finetop.core.external.sources._state import set_state, state_of
from finetop.core.plugins import METRIC_SOURCES, Plugin, PluginKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence, Set
    from pathlib import Path


class Point(NamedTuple):
    """Values at a step, named as the program names them; `at`: seconds since 1970, 0 if it does not say."""

    step: int
    values: dict[str, float]
    at: float = 0.0


class Before(NamedTuple):
    """A file as an earlier run left it: what it holds up to here is not of this one, unless it is rewritten."""

    inode: int
    size: int
    written_ns: int
    end: bytes  # its last bytes


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look: the folders that the program works in and writes to, and its output."""

    folders: tuple[Path, ...]  # the first is its output, if that is known
    log: Path | None = None  # what it prints; None if another program started it
    since: float = 0.0  # files that were last written before this are of an earlier run (seconds since 1970)
    log_begins: int = 0  # bytes of the log that are of an earlier attempt
    # of the program, where it says where files go
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, Before] = field(default_factory=dict)  # the files that were there, by their paths
    until: float = math.inf  # when the program ended
    runs: dict[str, str] = field(
        default_factory=dict
    )  # of a file that has several programs' runs, this one's

    pattern: str = ""  # for the lines that it prints, in place of the known formats

    def is_new(self, file: Path) -> bool:
        """Return whether a file is there and was written since the program began."""
        return self._written(file) >= self.since

    def is_late(self, file: Path) -> bool:
        """Return whether a file was written after the program had ended."""
        return self._written(file) > self.until

    def _written(self, file: Path) -> float:
        try:
            facts = file.stat()
        except OSError:
            return -math.inf  # a checkpoint may be deleted while files are searched for
        return facts.st_mtime if S_ISREG(facts.st_mode) else -math.inf


@dataclass
class Reader:
    """Reads one file of a source as it grows.

    `total` and `epochs` are the planned steps and epochs, 0 until the file has them. `behind`: the last read left
    something for the next. `guesses`: the file has no steps, and each line counts as one. `series` names one of
    several files that a program writes at the same time; '' if it has one. `is_of_one_process`: one that starts again
    begins another file. `passed_over`: bytes that came too fast to be read, `left`: not read yet. `lines`: of text
    that a person reads, which may have no numbers. `is_locked`: the last read found another program writing, and has
    nothing. `config`: the program's own configuration, if the file has it.
    """

    path: Path
    total: int = field(default=0, init=False)
    epochs: float = field(default=0.0, init=False)
    behind: bool = field(default=False, init=False)
    guesses: bool = field(default=False, init=False)
    series: str = field(default="", init=False)
    is_of_one_process: bool = field(default=False, init=False)
    passed_over: int = field(default=0, init=False)
    left: int = field(default=0, init=False)
    lines: int = field(default=0, init=False)
    is_locked: bool = field(default=False, init=False)
    config: Settings = field(default_factory=dict, init=False)

    def read(self) -> Sequence[Point]:
        """Return what is new since the last call, in the file's order; a half-written end waits for the next call.

        A call reads a bounded part of a large file.

        Never raises for what a file holds: what can't be read is skipped. Raises OSError.
        """
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Return where the reader is and what it knows, as plain data."""
        return state_of(self, without=("path",))

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of another reader of the same file. Raises StateError."""
        set_state(self, state)


class Proof(NamedTuple):
    """Whether a file is the program's, and why; neither own nor foreign: nobody can tell."""

    is_own: bool
    why: str
    is_foreign: bool = False
    by_process: bool = False  # seen; else concluded, since nobody else works in its folder
    writer: int = 0  # the other program's process, if it is known
    is_locked: bool = False  # another program writes to it just now, so nobody can tell yet


class Evidence(NamedTuple):
    """What is known of a program besides its files."""

    printed: Set[str]  # names of runs and projects
    words: Set[str]  # names in its arguments and its environment
    outputs: Sequence[Path]  # the folder that it alone writes to, if that is known


class Source(Plugin):
    """A kind of file. Where several have the same metric, the one with the highest rank is believed."""

    rank: int
    waits: bool = False  # what it has first waits a while for a better source
    is_appended: bool = False  # several programs, one after the other, may append to one file
    names_run: re.Pattern[str] | None = None  # finds the names of a program's runs in what it prints

    @abstractmethod
    def find(self, places: Places) -> Iterator[Path]:
        """Yield the files of this kind that are there now. Called every few seconds: it walks no tree deeply."""

    def writer_in(self, path: Path) -> int:
        """Return the process of this machine that a file names as its writer; 0 if it names none."""
        return 0

    def of_run(
        self, path: Path, places: Places, proof: Proof, evidence: Callable[[], Evidence]
    ) -> Proof | None:
        """Return the proof for a file in which several programs have runs; None while it has none of this time."""
        return proof

    @abstractmethod
    def open(self, path: Path, places: Places) -> Reader:
        """Return a reader of a file, from its beginning (of a log: from where this attempt began)."""


KIND: PluginKind[Source] = METRIC_SOURCES.of(Source)
names, load = KIND.names, KIND.load
