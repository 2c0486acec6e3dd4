"""Which processes write to which files: one look at /proc for all files of a program."""

from __future__ import annotations

import math
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.external.client import METRICS
from finetop.core.recipe.command import output_in, output_of
from finetop.core.recipe.load import recipe_from_resolved
from finetop.core.runtime import processes
from finetop.core.runtime.job_folder import read_spec
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

MOST_SEEN = 100_000  # processes of a program that are remembered
WRITES = 0o200  # of the mode of a link in /proc/PID/fd: the file is open for writing
# Programs that look at a folder, or start others in it, and write no metrics.
ONLOOKERS = {
    "bash",
    "zsh",
    "fish",
    "sh",
    "dash",
    "tmux",
    "tmux: server",
    "screen",
    "ssh",
    "sshd",
    "git",
    "finetop",
}
ONLOOKERS |= {
    "vi",
    "vim",
    "nvim",
    "nano",
    "emacs",
    "code",
    "node",
    "less",
    "more",
    "tail",
    "man",
    "top",
    "htop",
}
ONLOOKERS |= {
    "watch",
    "sleep",
    "tensorboard",
    "jupyter",
    "jupyter-lab",
    "jupyter-notebook",
    "pyright",
    "pylsp",
}
NAMES_IT = re.compile(r"(?i)(?:run|^-*|trackio|wandb)[_-]?(?:name|id)$")  # an option or a variable
OF_FINETOP, INTERPRETERS = "finetop", ("python", "uv")


class Stranger(NamedTuple):
    """A process of this user that is not the program's."""

    pid: int
    name: str
    folders: tuple[str, ...]  # that it works in or writes to

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


class _Facts(NamedTuple):
    """What does not change while a process lives, unless it starts another program."""

    start: int
    metrics: str  # its FINETOP_METRICS
    name: str
    is_onlooker: bool
    outputs: tuple[str, ...]  # the folder that its command names; those of the command's job


@dataclass
class Writers:
    """The processes of a program, and those of others on this machine.

    A program's processes are `root` (itself only if it is the program), what is below it, and whatever has its
    FINETOP_METRICS. Without either (`root` 0, no metrics) the program is unknown, and nothing is proven.
    """

    root: int
    metrics: str = ""
    with_root: bool = False
    seen: set[int] = field(default_factory=set)  # every process of the program so far
    own: set[int] = field(default_factory=set)  # now
    strangers: dict[int, Stranger] = field(default_factory=dict)  # that work in the program's folders
    met: dict[int, tuple[Stranger, float]] = field(
        default_factory=dict
    )  # all so far, and when they were last there
    folders: tuple[
        str, ...
    ] = ()  # of the program, as the system names them; what is elsewhere does not matter
    # Files that the program has had open for writing so far, by device and inode: what it closes, or leaves when it
    # ends, is still its own.
    written: dict[tuple[int, int], str] = field(default_factory=dict)
    _facts: dict[int, _Facts] = field(default_factory=dict)
    _own_files: dict[tuple[int, int], int] = field(default_factory=dict)  # device and inode -> process
    _their_files: dict[tuple[int, int], int] = field(default_factory=dict)

    def look(self, *, at_all: bool) -> None:
        """Look at the program's processes and their files; `at_all`: at everybody's files too."""
        everyone = processes.snapshot()
        below = {process.pid for process in processes.below(self.root, everyone)} if self.root else set()
        self._facts = {process.pid: self._facts_of(process) for process in everyone.values()}
        below |= {self.root} & everyone.keys() if self.with_root else set()
        below = {
            pid for pid in below if self._facts[pid].metrics in ("", self.metrics)
        }  # no job of another command
        named = {pid for pid, facts in self._facts.items() if self.metrics and facts.metrics == self.metrics}
        self.own = (below | named) - {os.getpid()}
        if len(self.seen) < MOST_SEEN:
            self.seen |= self.own
        above = {os.getpid(), *_ancestors(os.getpid(), everyone), *_ancestors(self.root, everyone)}
        others = everyone.keys() - self.own - above
        self.strangers = {
            pid: Stranger(pid, self._facts[pid].name, (folder, *self._facts[pid].outputs))
            for pid in others
            if not self._facts[pid].is_onlooker and (folder := _working_folder(pid))
            if not self.is_unknown
            or self._facts[pid].metrics  # of a folder that is watched, whoever works there
            if self._are_near((folder, *self._facts[pid].outputs))
        }
        now = time.time()
        if len(self.met) < MOST_SEEN:
            self.met |= {pid: (stranger, now) for pid, stranger in self.strangers.items()}
        self._own_files = _open_files(self.own, self._note_written)
        if at_all:
            self._their_files = _open_files(others)

    def has_open(self, path: Path) -> tuple[int, int]:
        """Return a process of the program, and one of another, that have a file open for writing; 0 for none."""
        try:
            facts = path.stat()
        except OSError:
            return 0, 0
        key = facts.st_dev, facts.st_ino
        return self._own_files.get(key, 0), self._their_files.get(key, 0)

    def has_written(self, path: Path) -> bool:
        """Return whether a process of the program was seen with a file open for writing."""
        try:
            facts = path.stat()
        except OSError:
            return False
        # A file that was deleted may leave its inode to another one.
        return self.written.get((facts.st_dev, facts.st_ino)) == f"{_real(path.parent)}/{path.name}"

    def _note_written(self, key: tuple[int, int], link: str) -> None:
        if key not in self.written and len(self.written) < MOST_SEEN:
            with suppress(OSError):
                file = str(Path(link).readlink())
                if self._are_near((file,)):
                    self.written[key] = file

    def _are_near(self, paths: Iterable[str]) -> bool:
        """Return whether one of some paths is in the program's folders."""
        return any(f"{path}/".startswith(f"{folder}/") for path in paths for folder in self.folders)

    def stranger_in(self, folders: Iterable[Path], since: float = math.inf) -> Stranger | None:
        """Return a process of another program that works in one of some folders, or did since then."""
        named = set(map(_real, folders))
        for pid, (other, last) in self.met.items():
            if (pid in self.strangers or last >= since) and named & set(other.folders):
                return other
        return None

    @property
    def is_unknown(self) -> bool:
        """Whether no process of the program is known: a folder is watched."""
        return not self.root and not self.metrics

    def began(self, pid: int) -> float:
        """Return when a process started, in seconds since 1970; 0 if it has ended."""
        facts = self._facts.get(pid)
        since_boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return since_boot + facts.start / processes.TICKS_S if facts is not None else 0.0

    def name_of(self, pid: int) -> str:
        """Return a process as it is named to a person."""
        facts = self._facts.get(pid)
        return f"process {pid} ({facts.name})" if facts is not None else f"process {pid}"

    def names(self) -> set[str]:
        """Return the names in the arguments and the environment of the program's processes: `--run_name mine`."""
        found = set()
        for pid in self.own:
            environment = processes.environment_of(pid)
            found |= {value for key, value in environment.items() if NAMES_IT.search(key)}
            for word, following in pairwise([*_words_of(pid), ""]):
                option, sign, value = word.partition("=")
                if NAMES_IT.search(option) and (sign or option.startswith("-")):
                    found.add(value if sign else following)
        return found - {""}

    def _facts_of(self, process: processes.Process) -> _Facts:
        pid, start = process.pid, process.start
        known = self._facts.get(pid)
        if known is not None and known.start == start and not (known.is_onlooker and process.parent > 2):
            return known  # a shell may become the program that it starts; a kernel's thread does not
        metrics = processes.environment_of(pid).get(METRICS, "")
        words = _words_of(pid)
        name = _program_of(words)
        outputs = tuple(_folders_of(pid, words, metrics))
        return _Facts(start, metrics, name, not metrics and _is_onlooker(words, name), outputs)

    def other_jobs(self) -> set[Path]:
        """Return the job folders of the commands that run besides this one."""
        named = {facts.metrics for facts in self._facts.values()}
        return {Path(metrics).parent for metrics in named if metrics and metrics != self.metrics}


@lru_cache(4096)
def _real(folder: Path) -> str:
    """Return a folder as the system names it, where a process works."""
    return os.path.realpath(folder)


def _ancestors(pid: int, everyone: Mapping[int, processes.Process]) -> Iterator[int]:
    known: set[int] = set()
    while (process := everyone.get(pid)) is not None and process.parent not in known:
        known.add(pid := process.parent)
        yield pid


def _words_of(pid: int) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(word) for word in raw.rstrip(b"\0").split(b"\0")]


def _program_of(words: Sequence[str]) -> str:
    """Return the name of a process's program: of an interpreter, its script or module."""
    if not words:
        return "?"
    program = words[0].lstrip("-").rpartition("/")[2]
    if not program.startswith(INTERPRETERS) or len(words) < 2:
        return plain(program)
    script = words[2] if words[1] == "-m" and len(words) > 2 else words[1]
    return plain(program if script.startswith("-") else script.rpartition("/")[2])


def _is_onlooker(words: Sequence[str], name: str) -> bool:
    if any(word.endswith(".sh") for word in words[1:3]):
        return False
    return not words or name in ONLOOKERS or name.startswith(OF_FINETOP)


def _folders_of(pid: int, words: Sequence[str], metrics: str) -> Iterator[str]:
    """Yield the folders that a process may write to: the one that its command names, and those of its job."""
    if named := output_in(words):
        yield os.path.realpath(Path(_working_folder(pid), named))
    if metrics:
        try:
            command = recipe_from_resolved(read_spec(Path(metrics).parent).recipe).command
        except (OSError, FinetopError, msgspec.MsgspecError):
            return
        if command is not None:
            yield from map(os.path.realpath, filter(None, (output_of(command), Path(command.workdir))))


def _working_folder(pid: int) -> str:
    """Return where a process works; empty for one of another user, or that has ended."""
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


def _open_files(
    pids: Iterable[int], note: Callable[[tuple[int, int], str], None] | None = None
) -> dict[tuple[int, int], int]:
    """Return the files that processes of this user have open for writing, by device and inode.

    `note` is called with each of them and its link.
    """
    opened: dict[tuple[int, int], int] = {}
    for pid in pids:
        with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:  # another user's, or it has ended
            for entry in entries:
                with suppress(OSError):  # closed meanwhile
                    if entry.stat(follow_symlinks=False).st_mode & WRITES:
                        facts = entry.stat()
                        key = facts.st_dev, facts.st_ino
                        opened[key] = pid
                        if note is not None and S_ISREG(facts.st_mode):
                            note(key, entry.path)
    return opened
