"""The keeper: the tiny parent of one job, in its own session, which outlives terminal, SSH and supervisor.

    python -m finetop.core.runtime.keeper JOB_FOLDER ATTEMPT COMMAND…
    python -m finetop.core.runtime.keeper --spare COMMAND…

It holds JOB_FOLDER/lock as long as it lives (that, not a pid, shows that a job runs), writes keeper.json (pid, start
time, boot id, attempt), starts the command with its output in log.txt, waits, ends what the command left behind, and
writes exit.json atomically. SIGTERM asks the job to stop (it saves a checkpoint; of several ranks, those that listen
get the signal as soon as one does), SIGUSR1 kills the whole tree, SIGUSR2 makes every process that can write its stacks
to the log. It keeps the log from filling the disk (see log_file.py). Standard library only: it starts in 30 ms and
takes 10 MB.

If it is killed itself, the kernel kills the job, which could otherwise be started twice. Everything that a job starts
carries its keeper's mark in the environment, by which a supervisor finds leftovers even then. If JOB_FOLDER is deleted,
nobody will ever ask for the job again: it is killed, and nothing is written.

With --spare the command runs before there is a job: a line of JSON on standard input says which one it becomes, and the
command gets the folder on its own standard input. If standard input ends first, everything ends.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from finetop.core.runtime import cgroups, log_file, processes
from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.files import is_still, open_own, read_own, retry_file_work, take_file_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from finetop.core.runtime.kernel_log import MemoryKill

PR_SET_CHILD_SUBREAPER = 36
LOCK_WAIT_S = 3.0  # the supervisor may check the lock at the same moment
SIGNALS = {"stop": signal.SIGTERM, "kill": signal.SIGUSR1, "stacks": signal.SIGUSR2}
MARK = "FINETOP_KEEPER"  # of the environment
KILL_S = 10.0  # longer means that a process waits for a device that does not answer
STEP_KILL_S = 10.0  # for srun to kill a job's processes on all nodes and end
STACKS_S = 0.3  # for one process to write its stacks before the next does
LOG_LOOK_S = 1.0  # between two checks of the log's size
HASTE_S = 0.1  # during a flood: some programs write 1 GB/s
OOM_LOOK_S = 10.0  # between two reads of the kernel's count of out-of-memory kills
GONE_S = 10.0  # a missing folder counts as deleted only after this: an automounter may be slow
OOM_LOOKS = 4  # a large process takes seconds to die: its kill is older than its end


def main() -> int:
    os.umask(0o077)
    if sys.argv[1] == "--spare":
        return spare(sys.argv[2:])
    folder, attempt, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    lock = retry_file_work(lambda: take_lock(folder / "lock"))
    if lock is None or retry_file_work(lambda: wanted_attempt(folder)) != attempt:
        return 3  # another keeper has this job, or this attempt was given up
    abort_at("keeper-locked")
    become_subreaper()
    return start(command, folder, attempt)


class Door(Protocol):
    """A way to reach a keeper without signals, if its supervisor is on another machine."""

    def begin(self, job: int, ask_to_stop: Callable[[], None]) -> None:
        """Set the process that is kept and the function that asks it to stop."""

    def on_term(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM instead of the keeper."""

    def handle_requests(self) -> None:
        """Handle new requests, once a second."""

    def facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Complete an exit record."""


def start(command: list[str], folder: Path, attempt: int, door: Door | None = None) -> int:
    """Start a job whose lock is held, with its output in its log, and keep it."""
    log = retry_file_work(lambda: open_own(str(folder / "log.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    try:
        job = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
            env=job_environment(),
            preexec_fn=processes.die_with(os.getpid()),
        )
    except OSError as error:
        os.write(log, f"can't start {command[0]}: {error}\n".encode())
        write_json(
            folder / "exit.json", {"attempt": attempt, "code": 127, "signal": None, "ended": time.time()}
        )
        return 0
    abort_at("keeper-started")
    return keep(job, folder, attempt, door)


def spare(command: list[str]) -> int:
    """Start a command that waits, and keep it: as a job once one is assigned, else until standard input ends.

    If it has died by then, the job gets a new process, from the command in its order.
    """
    become_subreaper()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        process_group=0,
        env=job_environment(),
        preexec_fn=processes.die_with(os.getpid()),
    )
    order = wait_for_job(waiting)
    if order is None:
        end_all()
        return 0
    folder, attempt = Path(order["folder"]), int(order["attempt"])
    abort_at("keeper-told")
    lock = retry_file_work(lambda: take_lock(folder / "lock"))
    if lock is None or retry_file_work(lambda: wanted_attempt(folder)) != attempt:
        end_all()
        return 3
    abort_at("keeper-locked")
    assert waiting.stdin is not None
    try:
        waiting.stdin.write(f"{folder}\n".encode())
        waiting.stdin.close()
    except OSError:
        pass  # it is dead
    if waiting.poll() is not None:
        return start(order["command"], folder, attempt)
    abort_at("keeper-handed-over")
    return keep(waiting, folder, attempt)


def wait_for_job(waiting: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """Wait for the line that assigns a job to a waiting command; None if the command dies or standard input ends."""
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
    order: dict[str, Any] = json.loads(line)
    return order


def keep(job: subprocess.Popen[bytes], folder: Path, attempt: int, door: Door | None = None) -> int:
    """Record a running job's keeper, pass on signals, wait, clean up, record how the job ended."""
    watch = Watch(folder, job.pid, door)
    signal.signal(
        signal.SIGTERM, door.on_term if door is not None else lambda number, frame: watch.ask_to_stop()
    )
    signal.signal(signal.SIGUSR1, lambda number, frame: watch.kill())
    signal.signal(signal.SIGUSR2, lambda number, frame: write_stacks(folder, job.pid))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda number, frame: watch.check())
    signal.setitimer(signal.ITIMER_REAL, HASTE_S)
    began = time.monotonic()
    write_json(
        folder / "keeper.json",
        {
            "attempt": attempt,
            "pid": os.getpid(),
            "job_pid": job.pid,
            "start": processes.start_time(os.getpid()),
            "boot": processes.boot_id(),
            "mark": keeper_mark(),
        },
    )
    abort_at("keeper-recorded")
    if door is not None:
        door.begin(job.pid, watch.ask_to_stop)
    peak_kib, code = wait(job.pid)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    before, now = watch.oom_kills[0], cgroups.oom_kills()
    ran_s = time.monotonic() - began
    end_all()  # dataloader workers, grandchildren in other sessions: all are ours, as subreaper
    abort_at("keeper-waited")
    facts = {
        "attempt": attempt,
        "code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "ended": time.time(),
        "ran_s": round(ran_s, 3),  # independent of the wall clock
        "peak_memory_kib": peak_kib,
        "oom_kills": None if before is None or now is None else now - before,
        "memory_limit_kib": cgroups.total_memory() // 1024,
        "memory_kill": None if code == 0 else memory_kill(folder, job.pid, time.time() - ran_s),
    }
    if not watch.is_gone:
        write_json(folder / "exit.json", facts if door is None else door.facts(facts))
    abort_at("keeper-written")
    return 0


def memory_kill(folder: Path, job: int, since: float) -> MemoryKill | None:
    """Return which of a job's own processes here the kernel killed for lack of memory, if its log tells."""
    from finetop.core.runtime.kernel_log import memory_kill_of  # of a job that failed alone: most do not

    return memory_kill_of({job, *recorded_ranks(folder)}, since)


class Watch:
    """What a timer checks while the job runs: pending stop requests, the log's size, out-of-memory kills."""

    def __init__(self, folder: Path, job: int, door: Door | None = None) -> None:
        self._door, self._folder, self._job = door, folder, job
        self._is_asking = False  # a stop was requested, but no rank has received it yet
        self._kills_at = math.inf  # deadline for srun; what is left then is killed (monotonic)
        facts = job_facts(folder)
        self._ranks, self._nodes = (count_of(facts, key) for key in ("ranks", "nodes"))
        self.oom_kills = [cgroups.oom_kills()] * OOM_LOOKS  # oldest first
        self._counted_at = time.monotonic()
        self._log, self._limit = str(folder / "log.txt"), log_limit(facts)
        self._opened = retry_file_work(lambda: os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self._seen_at = time.monotonic()  # when the folder last existed

    @property
    def is_gone(self) -> bool:
        """Whether the job's folder was deleted or replaced."""
        return not is_still(self._folder, self._opened)

    def check(self) -> None:
        if self.is_gone:
            if time.monotonic() - self._seen_at >= GONE_S:
                self._kill_all()
            signal.setitimer(signal.ITIMER_REAL, LOG_LOOK_S)
            return
        self._seen_at = time.monotonic()
        if self._door is not None:
            self._door.handle_requests()
        if self._is_asking:
            self.ask_to_stop()
        if time.monotonic() >= self._kills_at:
            self._kill_all()
        is_flood = self._limit is not None and bound_log(self._log, self._limit)
        if time.monotonic() - self._counted_at >= OOM_LOOK_S:
            self._counted_at = time.monotonic()
            self.oom_kills = [*self.oom_kills[1:], cgroups.oom_kills()]
        signal.setitimer(signal.ITIMER_REAL, HASTE_S if is_flood else LOG_LOOK_S)

    def ask_to_stop(self) -> None:
        """Pass SIGTERM on to the job; with several ranks, to those on this machine, which the others follow.

        Their launchers, torchrun and srun, would fail on it. Until a rank listens, each check repeats the request.
        """
        is_alone = self._ranks == self._nodes == 1
        targets = [(self._job, processes.start_time(self._job))] if is_alone else ranks_here(self._folder)
        heard = [processes.send_to(pid, start, signal.SIGTERM) for pid, start in targets]
        self._is_asking = not any(heard)

    def kill(self) -> None:
        """Kill the whole tree. On other nodes srun kills the processes, when asked to end itself."""
        if self._nodes == 1:
            self._kill_all()
        elif self._kills_at == math.inf:
            self._kills_at = time.monotonic() + STEP_KILL_S
            processes.send_to(self._job, processes.start_time(self._job), signal.SIGTERM)

    def _kill_all(self) -> None:
        processes.kill([self._job, *processes.descendants(os.getpid())])


def job_facts(folder: Path) -> dict[str, Any]:
    """Read a job's spec; empty if it can't be read."""
    try:
        facts = json.loads(read_own(folder / "job.json"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def count_of(facts: dict[str, Any], key: str) -> int:
    """Return a job's number of ranks or nodes; 1 if its spec has none."""
    number = facts.get(key)
    return number if isinstance(number, int) and number > 0 else 1


def log_limit(facts: dict[str, Any]) -> int | None:
    """Return the limit of the job's log in bytes of disk; None for no limit."""
    mib = facts.get("log_mib")
    return mib << 20 if isinstance(mib, int) and mib > 0 else None


def bound_log(path: str, limit: int) -> bool:
    """Drop the middle of a log that exceeds its limit. Return whether it did."""
    try:
        log = open_own(path, os.O_WRONLY)
    except OSError:
        return False  # it does not exist yet
    try:
        return log_file.bound(log, limit)
    except OSError:
        return False  # the next check tries again
    finally:
        os.close(log)


def keeper_mark() -> str:
    """Return this keeper's unique name on this machine, past and future."""
    return f"{processes.boot_id()}-{os.getpid()}-{processes.start_time(os.getpid())}"


def job_environment() -> dict[str, str]:
    """Return the environment for a job's processes."""
    return {**os.environ, MARK: keeper_mark()}


def take_lock(path: Path) -> int | None:
    return take_file_lock(path, LOCK_WAIT_S)


def wanted_attempt(folder: Path) -> int:
    return int(read_own(folder / "attempt"))


def become_subreaper() -> None:
    """Make orphans of the job our children, so that none is left behind (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait(pid: int) -> tuple[int, int]:
    """Wait for the job, reaping orphans on the way. Return (peak memory KiB, exit code or -signal)."""
    while True:
        try:
            ended, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return 0, 1
        if ended == pid:
            return usage.ru_maxrss, os.waitstatus_to_exitcode(status)


def end_all() -> None:
    """Kill our descendants until there are none.

    As subreaper we become the parent of all orphans among them, so no child means that none is left. Reading /proc
    alone would miss a process that is forked, and whose parent ends, during the read.
    """
    deadline = time.monotonic() + KILL_S
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        processes.kill(processes.descendants(os.getpid()))
        time.sleep(0.005)


def write_stacks(folder: Path, job: int) -> None:
    """Make each descendant that can (job_process.py) write its stacks to the log, one after the other.

    The signal would end a process without a handler, so those are left alone; and another program's handler may do
    anything, so of a command only our own process is asked.
    """
    # the keeper is of the runtime, below the kinds of jobs, and loads none
    is_foreign = job_facts(folder).get("verb") == "command"
    for pid in processes.descendants(os.getpid()):
        if not processes.catches(pid, signal.SIGUSR2) or (is_foreign and pid != job):
            continue
        rank = rank_of(pid)
        try:
            with open(folder / "log.txt", "ab", opener=open_own) as log:
                log.write(f"finetop: stacks of process {pid}{f', rank {rank}' if rank else ''}:\n".encode())
            os.kill(pid, signal.SIGUSR2)
        except OSError:
            continue  # it has ended, or the disk is full
        time.sleep(STACKS_S)


def ranks_here(folder: Path) -> list[tuple[int, str | None]]:
    """List a job's ranks on this machine that listen for SIGTERM, each with its start time.

    They are children of torchrun, and under srun not our descendants: each records its process in JOB_FOLDER/ranks.
    """
    return [
        process
        for process in recorded_ranks(folder).items()
        if processes.start_time(process[0]) == process[1] and processes.catches(process[0], signal.SIGTERM)
    ]


def recorded_ranks(folder: Path) -> dict[int, str | None]:
    """Return the processes, with their start times, that a job's ranks on this machine have recorded."""
    own, start_by_pid = processes.boot_id(), {}
    for file in (folder / "ranks").glob("*.json"):
        try:
            record = json.loads(read_own(file))
            if record["boot"] == own:
                start_by_pid[int(record["pid"])] = record["start"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half written, or damaged
    return start_by_pid


def rank_of(pid: int) -> str:
    """Return a process's rank from its launcher's environment; '' for a single process."""
    environment = processes.environment_of(pid)
    rank = environment.get("RANK", "")
    return rank if rank.isdigit() and environment.get("WORLD_SIZE", "1") != "1" else ""


def write_json(path: Path, facts: dict[str, Any]) -> None:
    """Write aside, sync, rename: a reader sees all or nothing. Retries while the disk is full.

    Gives up if the folder is gone: nobody would read the file.
    """
    missing_at = math.inf
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    while True:
        try:
            aside.unlink(missing_ok=True)
            with os.fdopen(open_own(aside, os.O_WRONLY | os.O_CREAT), "w") as file:
                json.dump(facts, file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError:
            missing_at = math.inf if path.parent.is_dir() else min(missing_at, time.monotonic())
            if time.monotonic() - missing_at >= GONE_S:
                return
            time.sleep(1.0)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
