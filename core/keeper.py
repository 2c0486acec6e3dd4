"""The keeper: the tiny parent of one job, in a session of its own, that outlives terminal, SSH and supervisor.

    python -m finetop.core.keeper JOB_FOLDER ATTEMPT COMMAND…
    python -m finetop.core.keeper --spare COMMAND…

It holds JOB_FOLDER/lock as long as it lives (that, not a pid, says that a job runs), writes keeper.json (pid,
start time, boot id, attempt), starts the command with its output in log.txt, waits, ends what the command left
behind, and writes exit.json atomically. SIGTERM asks the job to stop (it saves a checkpoint), SIGUSR1 kills the
whole tree. Standard library only: it starts in 30 ms and holds 10 MB.

With --spare the command runs before there is a job: a line of JSON on standard input says which one it becomes; the
command hears the folder on its own. If standard input ends first, all of it goes.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
LOCK_WAIT_S = 3.0  # the supervisor may look at the lock at the same moment


def main() -> int:
    os.umask(0o077)
    if sys.argv[1] == "--spare":
        return spare(sys.argv[2:])
    folder, attempt, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    lock = take_lock(folder / "lock")
    if lock is None or wanted_attempt(folder) != attempt:
        return 3  # another keeper has this job, or this attempt was given up
    abort_at("keeper-locked")
    become_subreaper()
    return start(command, folder, attempt)


def start(command: list[str], folder: Path, attempt: int) -> int:
    """Start a job whose lock is held, its output in its log, and keep it."""
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        job = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)
    except OSError as error:
        os.write(log, f"can't start {command[0]}: {error}\n".encode())
        write_json(
            folder / "exit.json", {"attempt": attempt, "code": 127, "signal": None, "ended": time.time()}
        )
        return 0
    return keep(job, folder, attempt)


def spare(command: list[str]) -> int:
    """Start a command that waits, and keep it: until it is told a job, as that job's; else until nobody is there.

    If it has died by then, the job gets a process of its own, by the command that is told with it.
    """
    become_subreaper()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)
    told = told_job(waiting)
    if told is None:
        kill_tree()
        return 0
    folder, attempt = Path(told["folder"]), int(told["attempt"])
    lock = take_lock(folder / "lock")
    if lock is None or wanted_attempt(folder) != attempt:
        kill_tree()
        return 3
    abort_at("keeper-locked")
    assert waiting.stdin is not None
    try:
        waiting.stdin.write(f"{folder}\n".encode())
        waiting.stdin.close()
    except OSError:
        pass  # it is dead
    if waiting.poll() is not None:
        return start(told["command"], folder, attempt)
    return keep(waiting, folder, attempt)


def told_job(waiting: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """Wait for the line that says which job a waiting command becomes; None if it dies first, or nobody is there."""
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)  # so that its death ends the wait
    line = b""
    try:
        while not line.endswith(b"\n"):
            ready = select.select([0, ended], [], [], 60.0)[0]
            if 0 not in ready and waiting.poll() is not None:
                return None
            if ended in ready:
                os.read(ended, 4096)
            if 0 in ready:
                more = os.read(0, 65536)
                if not more:
                    return None
                line += more
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    said: dict[str, Any] = json.loads(line)
    return said


def keep(job: subprocess.Popen[bytes], folder: Path, attempt: int) -> int:
    """Write down who keeps a job that runs, pass on signals, wait, clean up, write down how it ended."""
    signal.signal(signal.SIGTERM, forward(job.pid, signal.SIGTERM))
    signal.signal(signal.SIGUSR1, lambda number, frame: kill_tree())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    write_json(
        folder / "keeper.json",
        {
            "attempt": attempt,
            "pid": os.getpid(),
            "job_pid": job.pid,
            "start": start_time(os.getpid()),
            "boot": boot_id(),
        },
    )
    abort_at("keeper-recorded")
    peak_kib, code = wait(job.pid)
    kill_tree()  # dataloader workers, grandchildren in sessions of their own: all are ours, as subreaper
    abort_at("keeper-waited")
    write_json(
        folder / "exit.json",
        {
            "attempt": attempt,
            "code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "ended": time.time(),
            "peak_memory_kib": peak_kib,
        },
    )
    return 0


def take_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)
        else:
            return descriptor


def wanted_attempt(folder: Path) -> int:
    return int((folder / "attempt").read_text())


def become_subreaper() -> None:
    """Make orphans of the job our children, so that none is left behind (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def forward(pid: int, number: int) -> Callable[[int, FrameType | None], None]:
    def send(_number: int, _frame: FrameType | None) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    return send


def wait(pid: int) -> tuple[int, int]:
    """Wait for the job, reaping orphans on the way. Returns (peak memory KiB, exit code or -signal)."""
    while True:
        try:
            ended, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return 0, 1
        if ended == pid:
            return usage.ru_maxrss, os.waitstatus_to_exitcode(status)


def kill_tree() -> None:
    """Kill all our descendants, until none is left: a child may fork while we look."""
    for _ in range(100):
        found = descendants(os.getpid())
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not any(alive(pid) for pid in found):
            return
        time.sleep(0.01)


def descendants(root: int) -> list[int]:
    """List all processes below one, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir() if sys.platform == "linux" else []:
        if entry.name.isdigit():
            parent = stat_field(int(entry.name), 1)
            if parent is not None:
                children.setdefault(int(parent), []).append(int(entry.name))
    found, front = [], [root]
    while front:
        below = [child for pid in front for child in children.get(pid, [])]
        found += below
        front = below
    return found


def alive(pid: int) -> bool:
    return stat_field(pid, 0) not in (None, "Z", "X")


def stat_field(pid: int, index: int) -> str | None:
    """Read a field of /proc/PID/stat after the name: 0 state, 1 parent, 19 start time in ticks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[index]
    except (OSError, IndexError):
        return None


def start_time(pid: int) -> str | None:
    """When a process started, in clock ticks since boot: with the pid and the boot id it names one process."""
    return stat_field(pid, 19)


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def write_json(path: Path, facts: dict[str, Any]) -> None:
    """Write aside, sync, rename: a reader sees all of it or nothing. Retries while the disk is full."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    while True:
        try:
            with aside.open("w") as file:
                json.dump(facts, file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError:
            time.sleep(1.0)
        else:
            return


def abort_at(point: str) -> None:
    """Die here when a fault test says so (FINETOP_ABORT_AT)."""
    if os.environ.get("FINETOP_ABORT_AT") == point:
        os._exit(99)


if __name__ == "__main__":
    sys.exit(main())
