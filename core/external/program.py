"""A training program that runs already: by its process, or by the folder that it writes to."""

from __future__ import annotations

import errno
import os
import shlex
from contextlib import suppress
from pathlib import Path

import psutil
from msgspec.structs import replace

from finetop.core.errors import BadInput, NotFound
from finetop.core.protocol.messages.machine import Program
from finetop.core.recipe.command import output_in
from finetop.core.runtime import processes, secrets
from finetop.core.text import clean_line, plain

MOST_NAMED = 3
OWN = ("finetop.core.", "finetop.tui.")  # modules that finetop's processes are started with


class Gone(NotFound):
    """A process that is not there any more."""


def program_of(target: str) -> Program:
    """Find a program by its process id or by an absolute folder. Raises BadInput, NotFound."""
    if target.isdecimal():
        return of_process(int(target))
    try:
        Path(target).stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            hint = "Give the folder that the program writes to, or its process id."
            raise BadInput(f"{plain(target)} is a link that leads to itself.", hint=hint) from error
    folder = Path(target).resolve()
    if not folder.is_dir():
        raise BadInput(
            f"there is no folder {plain(str(folder))}, and it is no process id.",
            hint="Give the folder that the program writes to, or its process id.",
        )
    if folder == Path(folder.anchor):
        hint = "Give the folder that the program writes to, or its process id."
        raise BadInput(f"{folder} holds every program's files.", hint=hint)
    pid = writer_of(folder)
    if pid is not None:
        with suppress(Gone):  # it has ended since
            return replace(of_process(pid), output=str(folder))
    return Program(0, "", [], str(folder), str(folder), "")


def of_process(pid: int) -> Program:
    """Read what a process was started with. Raises NotFound for one that is not there, or another user's."""
    try:
        process = psutil.Process(pid)
        words, workdir = process.cmdline(), Path(process.cwd())
    except psutil.AccessDenied as error:
        raise NotFound(
            f"process {pid} belongs to another user.", hint="Only your own processes can be watched."
        ) from error
    except psutil.Error as error:
        raise Gone(f"there is no process {pid}.", hint="See `ps -ef`.") from error
    output = output_in(words)
    log = Path(f"/proc/{pid}/fd/1")
    return Program(
        pid,
        processes.start_time(pid) or "",
        secrets.masked(words),
        str(workdir),
        str(workdir / output) if output else "",
        str(log.resolve()) if log.is_file() else "",  # not a pipe, nor a terminal
    )


def writer_of(folder: Path) -> int | None:
    """Return the process of this user that writes to files of a folder or names it; of several, their ancestor.

    Never one of finetop's own. Raises BadInput if several programs do, each a process group of its own.
    """
    own, mine = psutil.Process(), {}
    family = {own.pid, *(parent.pid for parent in own.parents())}
    for process in psutil.process_iter():
        try:
            if process.pid not in family and process.uids() == own.uids() and _has(process, folder):
                mine[process.pid] = process
        except psutil.Error:
            continue
    first_of: dict[int, int] = {}  # a pipeline, such as `train | tee`, is one process group
    for pid, process in sorted(mine.items()):
        if not _above(process) & mine.keys():
            first_of.setdefault(_group(pid), pid)
    if len(first_of) > 1:
        named = [f"{pid} ({clean_line(_words(mine[pid]), limit=40)})" for pid in first_of.values()]
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        message = (
            f"{len(named)} programs write to {plain(str(folder))}: {', '.join(named[:MOST_NAMED])}{more}."
        )
        raise BadInput(message, hint="Name one by its process id: finetop watch PID.")
    return next(iter(first_of.values()), None)


def _has(process: psutil.Process, folder: Path) -> bool:
    workdir = Path(process.cwd())
    words = process.cmdline()
    if any(word.startswith(OWN) for word in words) or any(Path(word).name == "finetop" for word in words[:2]):
        return False
    named = output_in(words)
    if named and (workdir / named).resolve() == folder:
        return True
    written = (Path(file.path) for file in process.open_files() if getattr(file, "mode", "w") != "r")
    return any(folder in file.parents for file in written)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return pid


def _words(process: psutil.Process) -> str:
    try:
        return shlex.join(secrets.masked(process.cmdline()))
    except psutil.Error:
        return "ended"


def _above(process: psutil.Process) -> set[int]:
    try:
        return {parent.pid for parent in process.parents()}
    except psutil.Error:
        return set()
