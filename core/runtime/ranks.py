"""The ranks of a job that trains in several processes: how they start, which is which, and their final events.

torchrun (`python -m torch.distributed.run`) starts them below the job's keeper, and ends all once one fails. Only rank
0 writes the job's events; every rank has a file JOB_FOLDER/ranks/R.json with its process and its final event, which
shows the others, and the supervisor, which rank died and why. JOB_FOLDER/ranks/R.sign says where the rank is, as seen
by a thread of its own; if the job hangs, it shows which rank is late.

    python -m finetop.core.runtime.ranks COUNT COMMAND…

becomes the command that starts COUNT ranks on one of several nodes, with a fair share of its cores for each.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from finetop.core.protocol import job_kinds
from finetop.core.protocol.events import Ended, Event, Metrics, Phase
from finetop.core.runtime import cgroups, processes, stack_dumps
from finetop.core.runtime.files import open_own, read_own, write_whole

SAVE_S = 6 * 3600  # torchrun's grace for ranks that were asked to stop: saving a large checkpoint takes time
LOOK_S = 0.5  # between two checks of the other ranks on this machine
# Between two reads of all ranks' files while nothing changes: the files may be on NFS, and each rank reads all others'.
# It is also the delay until a rank learns what one on another machine wrote.
READ_S = 10.0
SIGN_S = 10.0  # between two signs of a rank
# If a rank's newest sign is this much older than another's, its process or its machine stands still. By the clock of
# the file system, and NFS may show a change a minute late.
STALE_S = 90.0
SIGN_BYTES = 512
GRACE_S = 5.0  # for a rank whose peer has died to end by its own error; NCCL would wait for minutes
CPU_RANKS = "FINETOP_CPU_RANKS"  # of the environment: ranks of a training without a GPU


@dataclass(frozen=True, slots=True)
class Rank:
    """Which of a job's processes this is."""

    number: int = 0
    count: int = 1
    local: int = 0  # of those on this machine: the index of its GPU

    @property
    def is_first(self) -> bool:
        return self.number == 0


class RankRecord(msgspec.Struct, frozen=True):
    """A rank's process, and its ended event once it has written one."""

    pid: int
    start: str | None
    boot: str
    ended: Ended | None = None
    at: float = 0.0
    host: str = ""


class Sign(msgspec.Struct, frozen=True):
    """Where a rank is, as last seen by its own thread."""

    step: int = 0  # the last one finished
    doing: str = ""  # its phase: "loading the model", "training" …
    where: str = ""  # in the code
    meets: bool = False  # it waits there for the other ranks


@dataclass(frozen=True, slots=True)
class Late:
    """The rank that the others wait for."""

    who: str  # which rank has not finished what
    others: str = "the others wait"
    did: str = ""  # what it did last


def own(environment: Mapping[str, str] = os.environ) -> Rank:
    """Return this process's rank from its launcher's environment; a single process is rank 0 of 1."""
    values = [environment.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
    return Rank(*map(int, values)) if all(text.isdecimal() for text in values) else Rank()


def launch_command(
    job_folder: Path, ranks: int, *, nodes: int = 1, rendezvous_id: str = "", endpoint: str = ""
) -> list[str]:
    """Return the command that runs a job in this many ranks on this node: one process, or torchrun.

    With several nodes each runs the same command; they find one another by `rendezvous_id` (a Slurm job id) and
    `endpoint` (HOST:PORT of the first node).
    """
    job = processes.python("finetop.core.run_job", str(job_folder))
    if ranks * nodes == 1:
        return job
    meeting = ["--standalone", "--local-addr", "127.0.0.1"]  # the host's own name may not resolve
    if nodes > 1:
        meeting = ["--nnodes", str(nodes), "--rdzv-backend", "c10d"]
        meeting += ["--rdzv-id", rendezvous_id, "--rdzv-endpoint", endpoint]
    own = ["--nproc-per-node", str(ranks), "--shutdown-timeout", str(SAVE_S)]
    # torchrun's own `python -u -m` would search the working folder first
    return processes.python("torch.distributed.run", *meeting, *own, "--no-python", *job)


def launch_environment(ranks: int, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return additional environment variables for ranks: each gets a fair share of the cores if there are several.

    torchrun itself would give each a single thread. In Slurm the cores are the job's on this node.
    """
    if ranks == 1 or "OMP_NUM_THREADS" in environment:
        return {}
    slurm_cores = environment.get("SLURM_CPUS_ON_NODE", "")
    cores = int(slurm_cores) if slurm_cores.isdecimal() else cgroups.cores()
    return {"OMP_NUM_THREADS": str(max(1, cores // ranks))}


def count_of(
    verb: str, gpus: int, asked: int | None, nodes: int = 1, environment: Mapping[str, str] = os.environ
) -> int:
    """Return the number of processes of a job with this many GPUs, whose recipe requested `asked`.

    Only training uses several. Without a GPU, FINETOP_CPU_RANKS sets the number for training, at least one per node.
    """
    if not job_kinds.of(verb).trains_here:
        return 1
    if gpus or asked:
        return gpus or asked or 1
    return max(nodes, without_gpu(environment))


def without_gpu(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of ranks of a training without a GPU, from the supervisor's environment."""
    number = environment.get(CPU_RANKS, "")
    return int(number) if number.isdecimal() else 1


def begin(job_folder: Path, rank: Rank) -> None:
    """Record this rank's process."""
    if rank.count > 1:
        (job_folder / "ranks").mkdir(mode=0o700, exist_ok=True)
        _write(job_folder, rank, None)


def end(job_folder: Path, rank: Rank, ended: Ended) -> None:
    """Record a rank's ended event. On a full disk nothing is written: then its exit code counts."""
    if rank.count > 1:
        with suppress(OSError):
            _write(job_folder, rank, ended)


def _write(job_folder: Path, rank: Rank, ended: Ended | None) -> None:
    pid = os.getpid()
    boot, host = processes.boot_id(), platform.node()
    record = RankRecord(pid, processes.start_time(pid), boot, ended, time.time(), host)
    write_whole(job_folder / "ranks" / f"{rank.number}.json", msgspec.json.encode(record))


def clear(job_folder: Path) -> None:
    """Remove the files of an earlier attempt's ranks."""
    for file in (job_folder / "ranks").glob("*.*"):
        file.unlink(missing_ok=True)


def read(job_folder: Path) -> dict[int, RankRecord]:
    """Read the files of a job's ranks, by rank; unreadable ones are left out."""
    records = {}
    for file in (job_folder / "ranks").glob("*.json"):
        try:
            records[int(file.stem)] = msgspec.json.decode(read_own(file, 1 << 20), type=RankRecord)
        except (OSError, ValueError, msgspec.DecodeError):
            continue
    return dict(sorted(records.items()))


def is_gone(record: RankRecord) -> bool:
    """Return True if a rank has ended; for one on another machine only its ended event shows that."""
    if record.ended is not None:
        return True
    if record.boot != processes.boot_id():
        return False
    return not processes.alive(record.pid) or processes.start_time(record.pid) != record.start


def lost(job_folder: Path, rank: Rank) -> Ended | None:
    """Return how this rank must end because another ended without finishing; None if all is well."""
    return None if rank.count == 1 else required_end(read(job_folder), rank)


def required_end(records: Mapping[int, RankRecord], rank: Rank) -> Ended | None:
    """Return how a rank must end, given the files of its job's ranks; None if all is well."""
    for number, record in records.items():
        if number == rank.number or not is_gone(record):
            continue
        if record.ended is None:
            return Ended("failed", f"rank {number} died", "", 1, "communication")
        if record.ended.status == "stopped":
            return record.ended
        if record.ended.status == "failed":
            return Ended("failed", f"rank {number} failed: {record.ended.cause}", "", 1, "communication")
    return None


@dataclass
class Signs:
    """Writes where this rank is, in place: the folder's mtime stays, and a full disk does no harm."""

    job_folder: Path
    rank: Rank
    step: int = 0
    doing: str = ""
    _due: float = -math.inf
    _written: str = ""  # the phase last written
    _file: int = -1

    def note(self, event: Event) -> None:
        """Note an event of this rank before it is logged (or dropped, if the rank is not the first)."""
        if isinstance(event, Metrics) and "loss" in event.values:
            self.step, self.doing = event.step, "training"
        elif isinstance(event, Phase):
            self.doing = event.name

    def write_if_due(self, now: float) -> None:
        """Write where the main thread is if the last sign is old or of another phase; `now` is monotonic."""
        if now < self._due and self.doing == self._written:
            return
        self._due, self._written = now + SIGN_S, self.doing
        stack = stack_dumps.main_thread()
        location = str(stack.frames[0]) if stack.frames else ""
        sign = msgspec.json.encode(Sign(self.step, self.doing, location[: SIGN_BYTES // 4], stack.meets))
        with suppress(OSError):  # the next check tries again
            if self._file < 0:
                file = self.job_folder / "ranks" / f"{self.rank.number}.sign"
                self._file = open_own(file, os.O_WRONLY | os.O_CREAT)
            os.pwrite(self._file, sign.ljust(SIGN_BYTES), 0)


def signs(job_folder: Path) -> dict[int, tuple[float, Sign]]:
    """Read the ranks' newest signs by rank, each with its mtime; unreadable ones are left out."""
    by_rank = {}
    for file in (job_folder / "ranks").glob("*.sign"):
        try:
            sign = msgspec.json.decode(read_own(file, SIGN_BYTES), type=Sign)
            by_rank[int(file.stem)] = file.stat().st_mtime, sign
        except (OSError, ValueError, msgspec.DecodeError):
            continue
    return by_rank


def late(job_folder: Path, count: int) -> Late | None:
    """Return which rank of a hung job the others wait for; None if that can't be determined.

    Checked in order: a rank that never began; one that is stopped or writes no signs; one behind the others; one that
    is elsewhere while others wait. If all wait for one another, none is late: their exchange does not finish.
    """
    began, newest_signs = read(job_folder), signs(job_folder)
    by_rank = {number: newest_signs.get(number, (0.0, Sign())) for number in began}
    if missing := [number for number in range(count) if number not in began]:
        if not began:
            return Late(f"none of {count} ranks has begun", "their launcher waits")
        names = ", ".join(map(str, missing))
        return Late(f"rank {names} has not begun" if len(missing) == 1 else f"ranks {names} have not begun")
    step = max((sign.step for _, sign in newest_signs.values()), default=0)
    newest = max((at for at, _ in newest_signs.values()), default=0.0)
    for number, record in began.items():
        if record.boot == processes.boot_id() and processes.stat_field(record.pid, 0) == processes.STOPPED:
            return _late(number, record, by_rank[number][1], step, "is stopped by a signal")
    for number, (at, sign) in by_rank.items():
        if newest - at > STALE_S:
            return _late(number, began[number], sign, step, "shows no signs of life")
    behind = [number for number, (_, sign) in newest_signs.items() if sign.step < step]
    elsewhere = [number for number, (_, sign) in newest_signs.items() if not sign.meets]
    for candidates in (behind, elsewhere):
        if candidates and len(candidates) < count:
            return _late(candidates[0], began[candidates[0]], newest_signs[candidates[0]][1], step, "")
    if newest_signs and not elsewhere:
        _, sign = newest_signs[min(newest_signs)]
        subject = f"none of {count} ranks has finished {_what(sign, step)}"
        return Late(subject, "each waits for the others", f"rank {min(newest_signs)} waits in {sign.where}")
    return None


def _late(number: int, record: RankRecord, sign: Sign, step: int, state: str) -> Late:
    last = f"was last in {sign.where}" if sign.where else ""
    last += f", after step {sign.step}" if last and sign.step else ""
    did = ", and ".join(filter(None, (state, last)))
    subject = f"rank {number} (pid {record.pid} on {record.host}) has not finished {_what(sign, step)}"
    return Late(subject, did=f"rank {number} {did}" if did else "")


def _what(sign: Sign, step: int) -> str:
    """Return what a rank is working on: a step that others have reached, or a phase around the steps."""
    is_old = step > sign.step + 1  # all ranks meet in each step
    if is_old or sign.doing in ("", "training"):
        return f"step {step + 1}" if step else "its first step"
    return sign.doing


@dataclass
class Peers:
    """The files of a job's ranks; read again when the folder changes or a rank here ends, else ever less often."""

    job_folder: Path
    rank: Rank
    left: Mapping[int, RankRecord] = field(default_factory=dict)
    _changed: int = -1  # mtime of the folder
    _due: float = -math.inf
    _pause: float = LOOK_S

    def required_end(self, now: float) -> Ended | None:
        """Return how this rank must end, or None; `now` is monotonic. Local processes are checked each time."""
        changed = self._last_change()
        is_known = changed == self._changed and now < self._due
        if not is_known or any(is_gone(record) for record in self.left.values() if record.ended is None):
            records = read(self.job_folder)
            self._pause = LOOK_S if records != self.left else min(2 * self._pause, READ_S)
            self.left, self._changed, self._due = records, changed, now + self._pause
        return required_end(self.left, self.rank)

    def _last_change(self) -> int:
        try:
            return (self.job_folder / "ranks").stat().st_mtime_ns
        except OSError:
            return -1


@dataclass
class Watch:
    """A thread that watches the other ranks, and ends this one if it hangs after another has died.

    An NCCL collective whose peer is gone waits for ten minutes, and no Python signal handler runs meanwhile.
    """

    peers: Peers
    leave: Callable[[Ended], None]  # writes the ended event and does not return
    ends: threading.Event
    signs: Signs | None = None

    def run(self) -> None:
        since: float | None = None
        while not self.ends.wait(LOOK_S):
            if self.signs is not None:
                self.signs.write_if_due(time.monotonic())
            word = self.peers.required_end(time.monotonic())
            if word is None:
                continue
            since = time.monotonic() if since is None else since
            if time.monotonic() - since >= GRACE_S and not self.ends.is_set():
                self.leave(word)


def watch(signs: Signs, leave: Callable[[Ended], None]) -> threading.Event:
    """Watch the other ranks, if any, and publish where this one is, until the returned event is set."""
    ends = threading.Event()
    if signs.rank.count > 1:
        watching = Watch(Peers(signs.job_folder, signs.rank), leave, ends, signs)
        threading.Thread(target=watching.run, name="ranks", daemon=True).start()
    return ends


def main() -> None:
    """Become the command on the command line, with the environment for this many ranks on this node."""
    os.environ.update(launch_environment(int(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
