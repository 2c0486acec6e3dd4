"""What runs for a home: its supervisor, the lock and the socket, the keepers of jobs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from finetop.core.client.connection import Client
from finetop.core.errors import FinetopError
from finetop.core.features.doctor.checks import Finding, ok, trouble, warning
from finetop.core.protocol.messages.runs import Sql
from finetop.core.protocol.messages.session import Changes, Hello
from finetop.core.runtime.files import end_of
from finetop.core.runtime.home import Home
from finetop.core.runtime.locks import is_held
from finetop.core.runtime.parts import own_version
from finetop.core.supervisor.launchers import local
from finetop.core.text import counted

RESTART = "`finetop supervisor stop`: the next command starts a new one, jobs go on"


def process_findings(home: Home) -> Iterator[Finding]:
    yield from supervisor(home)
    yield from keepers(home)


def supervisor(home: Home) -> Iterator[Finding]:
    held = _is_held(home.lock)
    try:
        with Client(home, start=False) as client:
            facts = client.ask(Hello())
            fault = client.ask(Changes(0, 0.0)).trouble
    except FinetopError as error:
        if held:
            text = f"one holds the lock but does not answer: {error.message}"
            yield trouble("supervisor", text, f"See {home.log}; end that process, jobs go on.")
            return
        yield ok("supervisor", f"{error.message} The next command starts one.")
        yield from database(home)
        return
    yield ok("supervisor", f"{facts.pid}, finetop {facts.version}, protocol {facts.protocol}")
    if facts.version != own_version():
        yield warning("supervisor", f"this program is finetop {own_version()}", RESTART)
    yield ok("spare", facts.spare)
    if held:
        yield ok("lock", "held by the supervisor")
    else:
        yield trouble("lock", f"nobody holds {home.lock.name}: a second supervisor could start", RESTART)
    if fault:
        yield trouble("store", fault, "finetop rebuild" if "rebuild" in fault else f"See {home.log}.")
    yield socket_rights(home.socket)


def database(home: Home) -> Iterator[Finding]:
    """Without a supervisor, report why the last one could not open the database: from the last line of its log."""
    if not home.database.exists() and any(home.runs.glob("*/run.json")):
        yield trouble("store", f"{home.database.name} is missing, but there are runs", "finetop rebuild")
        return
    try:
        last = end_of(home.log, 4096).decode("utf-8", "replace").strip().splitlines()[-1:]
    except OSError:
        return
    if last and "finetop rebuild" in last[0]:
        yield trouble("store", f"the last start failed: {last[0]}", "finetop rebuild")


def _is_held(lock: Path) -> bool:
    """Return True if a lock is held; False on a file system without locks, which another finding reports."""
    try:
        return is_held(lock)
    except OSError:
        return False


def socket_rights(path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 or path.stat().st_uid != os.getuid():
        return trouble("socket", f"open to others ({mode:o})", RESTART)
    return ok("socket", f"private to you ({mode:o})")


def keepers(home: Home) -> Iterator[Finding]:
    """Count the live jobs, and report keepers that no list has or that have no process any more."""
    held = [(f"{job.folder.parents[1].name}/{job.folder.name}", job) for job in local.living_jobs(home.runs)]
    live = [name for name, job in held if job.has_process]
    hollow = [(name, job) for name, job in held if not job.has_process]
    if hollow:
        pids = " ".join(str(job.keeper) for _, job in hollow if job.keeper is not None)
        names = ", ".join(name for name, _ in hollow)
        text = f"{names}: the keeper runs, but the job's process has ended or not started yet"
        fix = f"If this persists: kill {pids}" if pids else "Check again in a minute."
        yield warning("keepers", text, fix)
    text_of_live = f"{counted(len(live), 'job')} live" if live else "no job is running"
    yield ok("keepers", text_of_live)
    yield from astray(home, live)


def astray(home: Home, live: list[str]) -> Iterator[Finding]:
    """Report live jobs that the supervisor lists as ended."""
    folder = "split_part(r.folder, '/', 2) || '/' || split_part(j.folder, '/', 2)"
    running = f"SELECT {folder} FROM jobs j JOIN runs r ON r.id = j.run_id WHERE j.word = 'running'"
    try:
        with Client(home, start=False) as client:
            answer = client.ask(Sql(running, 10_000))
    except FinetopError:
        return
    unknown = sorted(set(live) - {str(row[0]) for row in answer.rows})
    if unknown:
        yield warning("keepers", f"{', '.join(unknown)}: running, but not listed", "finetop rebuild adds it.")
