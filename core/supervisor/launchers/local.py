"""Runs jobs on this machine, each below a keeper (runtime/keeper.py) that holds its lock and records its exit."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from finetop.core.protocol.messages.machine import NodeRow
from finetop.core.protocol.messages.runs import ProcessRow
from finetop.core.runtime import keeper, processes, ranks
from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.files import open_own, read_own, size_of, write_whole
from finetop.core.runtime.locks import is_held
from finetop.core.supervisor.launchers import launcher
from finetop.core.supervisor.launchers.launcher import Attempt, Batch, Exit, JobStatus, Usage, Variables

LEFT_BEHIND_S = 2.0  # time limit for finding leftover processes, during which no other job is looked at
LOOKS = 5
GO_ON_S = 3.0  # for a stopped keeper to continue, so that it can do what it was told
KILL_S = 15.0  # longer than a keeper takes; after that the kernel kills the job, and its mark finds the rest
MOST_PROCESSES = 50  # processes of a job that are listed
UNTOLD = {"code": None, "signal": None, "peak_memory_kib": 0}  # exit of a job that could not be started
RECORD_BYTES = 1 << 20  # of a keeper's record, which has a few hundred
DEEPEST = 100  # generations between a process and its keeper


@dataclass
class Waiting:
    """A waiting process: its keeper, its environment, and the file in which it reports that it is ready."""

    keeper: subprocess.Popen[bytes]
    environment: dict[str, str]
    file: Path


class LocalLauncher:
    """The Launcher of this machine. Its keepers outlive it: a new one needs nothing from the old."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._started: list[subprocess.Popen[bytes]] = []  # keepers of ours, to be reaped
        self._warm: Waiting | None = None
        self._warm_failures = 0
        self._pids: dict[tuple[int, int], int] = {}  # keepers of (job, attempt), for `owners`

    def submit(
        self, attempt: Attempt, variables: Variables, *, may_be_warm: bool = False, batch: Batch | None = None
    ) -> bool:
        if not claim(attempt.folder, attempt.number):
            return False
        abort_at("supervisor-claimed")
        may_be_warm = may_be_warm and ranks_of(attempt.folder) == 1
        started = self._hand_over(attempt, variables) if may_be_warm else None
        self._started.append(started or start_keeper(attempt, variables))
        return True

    def list(self, attempts: Sequence[Attempt]) -> dict[int, JobStatus]:
        return {attempt.job: look_at(attempt.folder, attempt.number) for attempt in attempts}

    def is_alive(self, folder: Path) -> bool:
        """Return True if a keeper holds the job's lock; no other process can, whatever its pid. Raises OSError."""
        return is_held(folder / "lock")

    def revoke(self, attempt: Attempt) -> bool:
        if not (attempt.folder / "lock").exists():
            return True  # it was never claimed
        with locked(attempt.folder) as is_free:
            facts = exit_of(attempt.folder, attempt.number), size_of(attempt.folder / "events.jsonl")
            if not is_free or facts != (None, 0):
                return False
            write_whole(attempt.folder / "attempt", b"0")
        return True

    def signal(self, attempt: Attempt, kind: launcher.Signal) -> bool:
        record = record_of(attempt.folder, attempt.number)
        if record is None or not self.is_alive(attempt.folder) or record["boot"] != processes.boot_id():
            return False
        return processes.send_to(int(record["pid"]), record["start"], keeper.SIGNALS[kind])

    def cancel(self, attempt: Attempt, waited_s: float) -> None:
        """Continue or kill the keeper of an attempt if it was itself stopped by a signal or does not answer."""
        record = record_of(attempt.folder, attempt.number)
        if waited_s >= GO_ON_S and record is not None and self.is_alive(attempt.folder):
            number = signal.SIGCONT if waited_s < KILL_S else signal.SIGKILL
            processes.send_to(int(record["pid"]), record["start"], number)

    def logs(self, folder: Path) -> Path:
        return folder / "log.txt"

    def trace(self, attempt: Attempt) -> launcher.Trace:
        record = record_of(attempt.folder, attempt.number)
        if record is None:
            return "none"
        return "here" if record["boot"] == processes.boot_id() else "restarted"

    def clear(self, attempt: Attempt) -> int:
        """Kill leftovers of a job whose keeper is gone: our processes that carry its mark, in any session.

        A process may fork and end while we look, so nobody is left only after several empty looks.
        """
        mark, empty_looks = (record_of(attempt.folder, attempt.number) or {}).get("mark"), 0
        deadline = time.monotonic() + LEFT_BEHIND_S
        while mark and empty_looks < LOOKS and time.monotonic() < deadline:
            leftovers = processes_of_mark(mark)
            processes.kill(leftovers)
            empty_looks = 0 if leftovers else empty_looks + 1
            time.sleep(0.005)
        return size_of(attempt.folder / "events.jsonl")

    def usage(self, attempts: Sequence[Attempt]) -> dict[int, Usage]:
        all_processes = processes.snapshot() if attempts else {}
        usage = {}
        for attempt in attempts:
            record = record_of(attempt.folder, attempt.number)
            if record is None or int(record["pid"]) not in all_processes:
                continue  # its keeper has not started, or has ended
            usage[attempt.job] = usage_of(int(record["pid"]), int(record["job_pid"]), all_processes)
        return usage

    def processes(self, attempts: Sequence[Attempt]) -> Sequence[ProcessRow]:
        """List each attempt's keeper, then the processes below it."""
        all_processes = processes.snapshot() if attempts else {}
        rows = []
        for attempt in attempts:
            record = record_of(attempt.folder, attempt.number)
            top = all_processes.get(int(record["pid"])) if record is not None else None
            if top is not None:
                tree = [top, *processes.below(top.pid, all_processes)][:MOST_PROCESSES]
                rows += [_row(attempt.job, process) for process in tree]
        return rows

    def owners(self, attempts: Sequence[Attempt], pids: set[int]) -> dict[int, int]:
        """Map processes to the job whose keeper they are below."""
        keepers = {}
        for attempt in attempts:
            mark = (attempt.job, attempt.number)
            if mark not in self._pids:
                record = record_of(attempt.folder, attempt.number)
                if record is None or record["boot"] != processes.boot_id():
                    continue
                self._pids[mark] = int(record["pid"])
            keepers[self._pids[mark]] = attempt.job
        self._pids = {mark: pid for mark, pid in self._pids.items() if pid in keepers}
        owned = {pid: owning_job(pid, keepers) for pid in pids} if keepers else {}
        return {pid: job for pid, job in owned.items() if job is not None}

    def nodes(self) -> Sequence[NodeRow]:
        return ()

    def trouble(self) -> str:
        return ""

    def tend(self) -> bool:
        self._started = [process for process in self._started if process.poll() is None]
        if self._warm is None or self._warm.keeper.poll() is None:
            return False
        self._warm = None
        self._warm_failures += 1
        return True

    def warm_up(self, variables: Variables) -> None:
        file = self._home / "spare.json"
        try:
            file.unlink(missing_ok=True)
            log = open_own(self._home / "spare.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with os.fdopen(log, "wb") as out:
                process = subprocess.Popen(
                    processes.python(keeper.__name__, "--spare", *warm_command(file)),
                    stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True, env=variables,
                )  # fmt: skip
        except OSError:
            return
        self._warm = Waiting(process, variables, file)

    def let_go(self) -> bool:
        """End the waiting process: its keeper ends when the pipe closes, and is reaped with those of jobs."""
        warm, self._warm = self._warm, None
        if warm is None:
            return False
        with suppress(OSError):  # it is gone already
            if warm.keeper.stdin is not None:
                warm.keeper.stdin.close()
        self._started.append(warm.keeper)
        return True

    def warm(self) -> launcher.Warm:
        if self._warm is None:
            return launcher.Warm(False, self._warm_failures)
        try:
            pid = int(json.loads(read_own(self._warm.file, RECORD_BYTES))["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            pid = None
        return launcher.Warm(True, self._warm_failures, pid)

    def _hand_over(self, attempt: Attempt, environment: dict[str, str]) -> subprocess.Popen[bytes] | None:
        """Hand a job to the waiting process; return None if there is none or its environment differs.

        Lock and attempt are as for a new keeper, which starts a process of its own if the waiting one has just died.
        What was written to the pipe is read even if the supervisor dies now.
        """
        warm, folder = self._warm, attempt.folder
        if warm is None:
            return None
        order = {"folder": str(folder), "attempt": attempt.number, "command": job_command(folder)}
        pipe = warm.keeper.stdin
        try:
            if warm.environment == environment and warm.keeper.poll() is None and pipe is not None:
                pipe.write(json.dumps(order).encode() + b"\n")  # small enough for an atomic pipe write
                pipe.flush()
                abort_at("supervisor-told")
                pipe.close()
                self._warm, self._warm_failures = None, 0
                return warm.keeper
        except OSError:
            pass  # it has just died: the job gets a process of its own
        self.let_go()
        return None


def usage_of(keeper: int, job: int, all_processes: dict[int, processes.Process]) -> Usage:
    """Return what the processes below a keeper use; `all_processes` are all processes."""
    tree, main = processes.below(keeper, all_processes), all_processes.get(job)
    state = "" if main is None else main.state
    # ranks are below torchrun
    waits = [process.state for process in tree if job in (process.pid, process.parent)]
    moved = processes.bytes_moved(process.pid for process in tree)
    cpu_s, is_stopped = sum(process.cpu_s for process in tree), state == processes.STOPPED
    return Usage(cpu_s, moved, is_stopped, processes.WAITS_FOR_DEVICE in waits)


def look_at(folder: Path, attempt: int) -> JobStatus:
    """Return whether a job lives, how it ended, and the size of its events. Raises OSError."""
    facts = exit_of(folder, attempt)
    lives = facts is None and is_held(folder / "lock")
    if facts is None and not lives:
        facts = exit_of(folder, attempt)  # it may have ended between the two checks
    return JobStatus(facts, lives, size_of(folder / "events.jsonl"))


def claim(folder: Path, attempt: int) -> bool:
    """Prepare a job for a keeper of this attempt. Return False if another keeper still holds it.

    The attempt's number is written under the job's lock, so a late keeper of an earlier attempt exits.
    """
    with locked(folder) as is_free:
        if is_free:
            abort_at("claim-locked")
            write_whole(folder / "attempt", str(attempt).encode())
            abort_at("claim-written")
            for stale in ("exit.json", "keeper.json"):
                (folder / stale).unlink(missing_ok=True)
                abort_at("claim-unlinked")
            ranks.clear(folder)
    return is_free


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a job's lock meanwhile; yields False if a keeper holds it."""
    descriptor, is_free = open_own(folder / "lock", os.O_RDWR | os.O_CREAT), False
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = True
        yield is_free
    finally:
        os.close(descriptor)


def start_keeper(attempt: Attempt, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a keeper for a claimed job, in a session of its own."""
    own = processes.python(keeper.__name__, str(attempt.folder), str(attempt.number))
    command, null = [*own, *job_command(attempt.folder)], subprocess.DEVNULL
    variables = {**environment, **ranks.launch_environment(ranks_of(attempt.folder))}
    return subprocess.Popen(
        command, stdin=null, stdout=null, stderr=null, start_new_session=True, env=variables
    )


def job_command(folder: Path) -> list[str]:
    """Return the command that a job's keeper runs: one process, or torchrun with as many ranks as job.json says."""
    return ranks.launch_command(folder, ranks_of(folder))


def ranks_of(folder: Path) -> int:
    """Return the number of ranks from job.json; 1 by default."""
    return keeper.count_of(keeper.job_facts(folder), "ranks")


def nodes_of(folder: Path) -> int:
    """Return the number of cluster nodes from job.json; 1 by default."""
    return keeper.count_of(keeper.job_facts(folder), "nodes")


def warm_command(file: Path) -> list[str]:
    return processes.python("finetop.core.run_job", "--warm", str(file))


def record_of(folder: Path, attempt: int) -> dict[str, Any] | None:
    """Read the keeper's record of this attempt; None if it is missing or invalid."""
    facts = _read(folder / "keeper.json", attempt)
    is_one = facts is not None and all(type(facts.get(key)) is int for key in ("pid", "job_pid"))
    return facts if is_one and facts is not None and {"boot", "start"} <= facts.keys() else None


def exit_of(folder: Path, attempt: int) -> Exit | None:
    """Read the exit record of this attempt. Raises OSError if its existence can't be determined."""
    facts = _read(folder / "exit.json", attempt)
    try:
        return None if facts is None else msgspec.convert({**UNTOLD, **facts}, Exit)
    except msgspec.ValidationError:
        return None  # no keeper wrote it


class Living(NamedTuple):
    """A job that a keeper holds, whether or not a supervisor knows it."""

    folder: Path
    keeper: int | None  # its pid; None until it has written its record
    has_process: bool


def living_jobs(runs: Path) -> Iterator[Living]:
    """Yield the jobs of all runs whose keepers live, except those whose locks can't be read."""
    for lock in sorted(runs.glob("*/jobs/*/lock")):
        try:
            if not is_held(lock):
                continue
        except OSError:
            continue
        facts: dict[str, Any] = {}
        with suppress(OSError):
            facts = _facts(lock.with_name("keeper.json")) or {}
        is_elsewhere = bool(facts) and facts.get("boot") != processes.boot_id()  # a node of a cluster
        has_process = is_elsewhere or processes.alive(int(facts.get("job_pid", 0)))
        yield Living(lock.parent, facts.get("pid"), has_process)


def _read(path: Path, attempt: int) -> dict[str, Any] | None:
    facts = _facts(path)
    return facts if facts is not None and facts.get("attempt") == attempt else None


def _facts(path: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(read_own(path, RECORD_BYTES))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise  # an unreachable file system proves nothing about the job
        return None
    return facts if isinstance(facts, dict) else None


def processes_of_mark(mark: str) -> list[int]:
    """List the living processes of a keeper, recognised by the mark in their environment."""
    pids = sorted((int(entry.name) for entry in Path("/proc").glob("[0-9]*")), reverse=True)
    # newest first: it may live for a moment only
    return [pid for pid in pids if processes.environment_of(pid).get(keeper.MARK) == mark]


def owning_job(pid: int, keepers: dict[int, int]) -> int | None:
    """Walk up from a process to the keeper above it; return the keeper's job, or None."""
    ancestor: int | None = pid
    for _ in range(DEEPEST):
        if ancestor is None or ancestor <= 1:
            return None
        if ancestor in keepers:
            return keepers[ancestor]
        parent = processes.stat_field(ancestor, 1)
        ancestor = None if parent is None else int(parent)
    return None


def _row(job: int, process: processes.Process) -> ProcessRow:
    facts = processes.status(process.pid)
    kib, threads = facts.get("VmRSS", "").split(), facts.get("Threads", "")
    gib, count = int(kib[0]) / 2**20 if kib else None, int(threads) if threads.isdecimal() else None
    command = processes.command(process.pid)
    return ProcessRow(process.pid, job, command, process.state, process.cpu_s, gib, count)
