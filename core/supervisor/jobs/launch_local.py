"""Runs jobs on this machine: starts a keeper, asks whether it lives, signals it, reads how it ended."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finetop.core.runtime import keeper, processes
from finetop.core.runtime.files import open_regular, write_whole
from finetop.core.runtime.locks import is_held

LEFT_BEHIND_S = 2.0  # in which no other job is looked at
LOOKS = 5
Signal = Literal["stop", "kill", "stacks"]  # what a keeper can be asked for


@dataclass(frozen=True)
class Exit:
    """A keeper's exit record."""

    code: int | None
    signal: int | None
    ended: float
    peak_memory_kib: int
    oom_kills: int | None = (
        None  # of its processes, by the kernel, in its last seconds; None: it does not count
    )
    memory_limit_kib: int = 0  # what it could use; 0 if unknown
    ran_s: float | None = None  # by a clock that nobody sets; None: it could not be started


@dataclass(frozen=True, slots=True)
class Look:
    """What the folder of a live job shows."""

    exit: Exit | None
    is_alive: bool
    size: int  # of its events, looked at last: when a job has ended, that is all of them


def look(folder: Path, attempt: int) -> Look:
    """Look whether a job lives, and how much it has told. Raises OSError."""
    facts = exit_of(folder, attempt)
    lives = facts is None and is_alive(folder)
    if facts is None and not lives:
        facts = exit_of(folder, attempt)  # it may have ended between the two looks
    return Look(facts, lives, size_of(folder / "events.jsonl"))


def size_of(file: Path) -> int:
    """Give a file's size, 0 without one. Raises OSError."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def claim(folder: Path, attempt: int) -> bool:
    """Make a job ready for a keeper of this attempt. False when another keeper still holds it.

    The attempt's number is written under the job's lock: a keeper of an earlier attempt that comes late leaves.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_whole(folder / "attempt", str(attempt).encode())
        for stale in ("exit.json", "keeper.json"):
            (folder / stale).unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def submit(folder: Path, attempt: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a keeper for a job that is claimed, in a session of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "finetop.core.runtime.keeper",
            str(folder),
            str(attempt),
            *job_command(folder),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
    )


def job_command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "finetop.core.run_job", str(folder)]


def is_alive(folder: Path) -> bool:
    """Say whether a keeper holds the job's lock: true of no other process, whatever its pid. Raises OSError."""
    return is_held(folder / "lock")


def record(folder: Path, attempt: int) -> dict[str, Any] | None:
    """Read the keeper's own record of this attempt."""
    return _read(folder / "keeper.json", attempt)


def exit_of(folder: Path, attempt: int) -> Exit | None:
    """Read the exit record of this attempt. Raises OSError where it is not known whether there is one."""
    facts = _read(folder / "exit.json", attempt)
    if facts is None:
        return None
    return Exit(
        facts.get("code"),
        facts.get("signal"),
        float(facts["ended"]),
        int(facts.get("peak_memory_kib", 0)),
        facts.get("oom_kills"),
        int(facts.get("memory_limit_kib", 0)),
        facts.get("ran_s"),
    )


def _read(path: Path, attempt: int) -> dict[str, Any] | None:
    try:
        with open_regular(path) as file:
            facts = json.loads(file.read())
    except (FileNotFoundError, ValueError):
        return None
    return facts if isinstance(facts, dict) and facts.get("attempt") == attempt else None


def end_left_behind(folder: Path, facts: dict[str, Any] | None) -> int:
    """Kill what a job of a keeper that is gone has left: processes of ours that bear its mark, in whatever session.

    One may be forked, and its parent end, while we look: nobody is left when several looks have found nobody.
    Returns the size of its events, which nobody writes any more.
    """
    mark, looks = (facts or {}).get("mark"), 0
    deadline = time.monotonic() + LEFT_BEHIND_S
    while mark and looks < LOOKS and time.monotonic() < deadline:
        found = marked(mark)
        processes.kill(found)
        looks = 0 if found else looks + 1
        time.sleep(0.005)
    return size_of(folder / "events.jsonl")


def marked(mark: str) -> list[int]:
    """List the living processes whose keeper was this one, by the environment that they were started in."""
    line, found = f"{keeper.MARK}={mark}".encode(), []
    pids = sorted((int(entry.name) for entry in Path("/proc").glob("[0-9]*")), reverse=True)
    for pid in pids:  # the newest first: it may live for a moment only
        try:
            if line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:
            continue  # another user's, or gone
    return found


def send(folder: Path, attempt: int, what: Signal) -> bool:
    """Ask the keeper to stop or kill its job, or for its stacks. False when it isn't there (yet)."""
    facts = record(folder, attempt)
    if facts is None or not is_alive(folder) or facts["boot"] != processes.boot_id():
        return False
    return processes.send_to(int(facts["pid"]), facts["start"], keeper.SIGNALS[what])
