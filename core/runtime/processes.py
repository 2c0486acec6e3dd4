"""Processes of this machine from /proc: descendants, identity, and signals to exactly one process (Linux)."""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

TICKS_S = os.sysconf("SC_CLK_TCK")
COMMAND = 200  # characters
PR_SET_PDEATHSIG = 1
STOPPED, WAITS_FOR_DEVICE = "T", "D"  # states as in `ps`


class Process(NamedTuple):
    """One process at one moment."""

    pid: int
    parent: int
    state: str
    cpu_s: float  # including its children that have ended
    start: int = 0  # in ticks since boot


def python(module: str, *words: str) -> list[str]:
    """Return the command of a process of ours: `python -m module words` that imports nothing from the working folder.

    Without -P, Python searches that folder first: among somebody's data, a file named yaml or random would be executed.
    """
    return [sys.executable, "-P", "-m", module, *words]


def snapshot() -> dict[int, Process]:
    """Read all processes. 20 microseconds each."""
    by_pid = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it has ended
        ticks = sum(int(fields[place]) for place in (11, 12, 13, 14))
        pid = int(entry.name)
        by_pid[pid] = Process(pid, int(fields[1]), fields[0].decode(), ticks / TICKS_S, int(fields[19]))
    return by_pid


def below(root: int, all_processes: dict[int, Process]) -> list[Process]:
    """List the descendants of a process, nearest first."""
    children: dict[int, list[Process]] = {}
    for process in all_processes.values():
        children.setdefault(process.parent, []).append(process)
    result: list[Process] = []
    front = [root]
    while front:
        level = [child for pid in front for child in children.get(pid, ())]
        result += level
        front = [process.pid for process in level]
    return result


def descendants(root: int) -> list[int]:
    """List all processes below one, nearest first."""
    return [process.pid for process in below(root, snapshot())]


def status(pid: int) -> dict[str, str]:
    """Read a process's /proc status by field: Threads, VmRSS …; empty if it is gone."""
    lines = _read(pid, "status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _read(pid: int, name: str) -> str:
    """Read a file of /proc/PID; empty where the process is gone, or does not show it."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def command(pid: int) -> str:
    """Return what a process runs: module or program with arguments, without leading paths."""
    arguments = _read(pid, "cmdline").split("\0")
    if "-m" in arguments[:4]:
        arguments = arguments[arguments.index("-m") + 1 :]
    return " ".join(word.rpartition("/")[2] for word in arguments).strip()[:COMMAND]


def catches(pid: int, number: int) -> bool:
    """Return whether a process has its own handler for a signal."""
    return bool(int(status(pid).get("SigCgt", "0"), 16) >> (number - 1) & 1)


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    return dict(pair.split("=", 1) for pair in _read(pid, "environ").split("\0") if "=" in pair)


def alive(pid: int) -> bool:
    return stat_field(pid, 0) not in (None, "Z", "X")


def stat_field(pid: int, index: int) -> str | None:
    """Read a field of /proc/PID/stat after the name: 0 state, 1 parent, 2 group, 19 start time in ticks."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return fields[index] if index < len(fields) else None


def start_time(pid: int) -> str | None:
    """Return when a process started, in ticks since boot: with pid and boot id it identifies one process."""
    return stat_field(pid, 19)


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def kill(pids: list[int]) -> None:
    """Kill processes and all of their groups at once, so that one that forks quickly can't escape."""
    groups = {int(group) for pid in pids if (group := stat_field(pid, 2))} - {os.getpgrp()}
    for send, targets in ((os.killpg, groups), (os.kill, pids)):
        for target in targets:
            try:
                send(target, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass


def bytes_moved(pids: Iterable[int]) -> int:
    """Return how many bytes processes have read and written so far, even from memory; inaccessible ones count 0."""
    lines = [line for pid in pids for line in _read(pid, "io").splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar")))


def send_to(pid: int, start: str | None, number: int) -> bool:
    """Signal the process with this pid and start time; return False if there is none, so no stranger is signalled.

    With pidfds (Linux 5.3) no other process can take the pid between the check and the signal.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):
        handle = -1
    try:
        if start_time(pid) != start:
            return False
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True


def user_of(link: socket.socket) -> int:
    """Return the user id at the other end."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getuid()  # macOS: relies on the folder's mode
    packed = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", packed)[1])


def require_own(link: socket.socket) -> None:
    """Raise PermissionError if another user's process is at the other end."""
    if (user := user_of(link)) != os.getuid():
        raise PermissionError(f"the socket is user {user}'s")


def die_with(parent: int) -> Callable[[], None]:
    """Return a preexec function that has the kernel kill the child when this parent dies (Linux only)."""
    import ctypes  # few users of this module need it

    libc = ctypes.CDLL(None, use_errno=True)

    def tie() -> None:
        if sys.platform == "linux":
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it has died in between
                os._exit(1)

    return tie
