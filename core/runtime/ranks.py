"""The ranks of a job that trains in several processes: how they are started, who is who, what each says at its end.

torchrun (`python -m torch.distributed.run`) starts them below the job's keeper and ends all once one fails. Rank 0
alone writes the job's events; every rank has a file JOB_FOLDER/ranks/R.json with its process and its last words, by
which the others, and whoever reads how the job ended, know which rank died and why. Beside it JOB_FOLDER/ranks/R.sign
holds where the rank is, as a thread of its own sees it: by that whoever finds the job hung knows which rank is late.

    python -m finetop.core.runtime.ranks COUNT COMMAND…

becomes the command that starts so many ranks on a node of several, with a fair share of that node's cores for each.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from finetop.core.protocol.events import Ended, Event, Metrics, Phase
from finetop.core.runtime import processes, stack_dumps
from finetop.core.runtime.files import open_own, read_own, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SAVE_S = 6 * 3600  # that torchrun gives ranks which were asked to stop: a large checkpoint takes its time
LOOK_S = 0.5  # between two looks at the other ranks of this machine
# Between two reads of what all have left, while nothing changes: the files may be another machine's (NFS), and each
# rank reads all others'. So much later a rank hears what one on another machine said.
READ_S = 10.0
SIGN_S = 10.0  # between two signs of a rank
# A rank's newest sign that is so much older than another's: its process, or its machine, stands still. By the clock of
# the file system, and NFS may show a change a minute late.
STALE_S = 90.0
SIGN_BYTES = 512
GRACE_S = 5.0  # for a rank whose neighbour has died to end by its own error; NCCL would wait for minutes
CPU_RANKS = "FINETOP_CPU_RANKS"  # of the environment: processes of a training without a GPU


@dataclass(frozen=True, slots=True)
class Rank:
    """Which of a job's processes this is."""

    number: int = 0
    count: int = 1
    local: int = 0  # of those on this machine: its GPU

    @property
    def is_first(self) -> bool:
        return self.number == 0


class LastWords(msgspec.Struct, frozen=True):
    """Which process a rank is, and how it ended, once it says so."""

    pid: int
    start: str | None
    boot: str
    ended: Ended | None = None
    at: float = 0.0
    host: str = ""


class Sign(msgspec.Struct, frozen=True):
    """Where a rank is, as its own thread last saw it."""

    step: int = 0  # the last that it finished
    doing: str = ""  # its phase: "loading the model", "training" …
    where: str = ""  # in the code
    meets: bool = False  # it waits there for the other ranks


@dataclass(frozen=True, slots=True)
class Late:
    """The rank that the others wait for."""

    who: str  # has not finished what
    others: str = "the others wait"
    did: str = ""  # what it did last


def own(environment: Mapping[str, str] = os.environ) -> Rank:
    """Return which rank this process is, as its launcher told it; alone, the first of one."""
    said = [environment.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
    if not all(text.isdecimal() for text in said):
        return Rank()
    return Rank(*map(int, said))


def launch_command(
    job_folder: Path, ranks: int, *, nodes: int = 1, rendezvous_id: str = "", endpoint: str = ""
) -> list[str]:
    """Return the command that runs a job in so many ranks on this node: one process, or torchrun's ranks.

    With several nodes each runs the same command; `rendezvous_id` (a Slurm job's number) and `endpoint`
    (HOST:PORT, of the first node) are how they find one another.
    """
    job = ["-m", "finetop.core.run_job", str(job_folder)]
    if ranks * nodes == 1:
        return [sys.executable, *job]
    meeting = ["--standalone", "--local-addr", "127.0.0.1"]  # the host's name may lead nowhere
    if nodes > 1:
        meeting = ["--nnodes", str(nodes), "--rdzv-backend", "c10d"]
        meeting += ["--rdzv-id", rendezvous_id, "--rdzv-endpoint", endpoint]
    own = ["--nproc-per-node", str(ranks), "--shutdown-timeout", str(SAVE_S)]
    return [sys.executable, "-m", "torch.distributed.run", *meeting, *own, *job]


def launch_environment(ranks: int, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what the environment of ranks must say beside: a fair share of the cores here for each of several.

    torchrun itself would give one thread to each. In Slurm the cores are those that the job has on this node.
    """
    if ranks == 1 or "OMP_NUM_THREADS" in environment:
        return {}
    said = environment.get("SLURM_CPUS_ON_NODE", "")
    cores = int(said) if said.isdecimal() else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // ranks))}


def count_of(
    verb: str,
    gpus: int,
    asked: int | None,
    nodes: int = 1,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Say in how many processes a job runs that has so many GPUs, and whose recipe asked for so many.

    Only training goes on several. FINETOP_CPU_RANKS says it of a training that needs no GPU; there is one a node.
    """
    if verb != "train":
        return 1
    if gpus or asked:
        return gpus or asked or 1
    return max(nodes, without_gpu(environment))


def without_gpu(environment: Mapping[str, str] = os.environ) -> int:
    """Return in how many processes a training without a GPU runs, as the supervisor's environment says."""
    said = environment.get(CPU_RANKS, "")
    return int(said) if said.isdecimal() else 1


def begin(job_folder: Path, rank: Rank) -> None:
    """Write down which process this rank is."""
    if rank.count > 1:
        (job_folder / "ranks").mkdir(mode=0o700, exist_ok=True)
        _write(job_folder, rank, None)


def end(job_folder: Path, rank: Rank, ended: Ended) -> None:
    """Leave a rank's last words. On a full disk nothing is left: then its exit code speaks."""
    if rank.count > 1:
        try:
            _write(job_folder, rank, ended)
        except OSError:
            return


def _write(job_folder: Path, rank: Rank, ended: Ended | None) -> None:
    pid = os.getpid()
    boot, host = processes.boot_id(), platform.node()
    words = LastWords(pid, processes.start_time(pid), boot, ended, time.time(), host)
    write_whole(job_folder / "ranks" / f"{rank.number}.json", msgspec.json.encode(words))


def clear(job_folder: Path) -> None:
    """Remove what the ranks of an earlier attempt left."""
    for file in (job_folder / "ranks").glob("*.*"):
        file.unlink(missing_ok=True)


def read(job_folder: Path) -> dict[int, LastWords]:
    """Read what the ranks of a job have left, by number; what can't be read is left out."""
    words = {}
    for file in (job_folder / "ranks").glob("*.json"):
        try:
            words[int(file.stem)] = msgspec.json.decode(read_own(file, 1 << 20), type=LastWords)
        except (OSError, ValueError, msgspec.DecodeError):
            continue
    return dict(sorted(words.items()))


def is_gone(words: LastWords) -> bool:
    """Return True if a rank has ended; of one on another machine only its last words tell."""
    if words.ended is not None:
        return True
    if words.boot != processes.boot_id():
        return False
    return not processes.alive(words.pid) or processes.start_time(words.pid) != words.start


def lost(job_folder: Path, rank: Rank) -> Ended | None:
    """Return how this rank must end because another has, without having finished; None while all is well."""
    return None if rank.count == 1 else follows(read(job_folder), rank)


def follows(left: Mapping[int, LastWords], rank: Rank) -> Ended | None:
    """Return how a rank must end by what the ranks of its job have left; None while all is well."""
    for number, words in left.items():
        if number == rank.number or not is_gone(words):
            continue
        if words.ended is None:
            return Ended("failed", f"rank {number} died", "", 1, "communication")
        if words.ended.status == "stopped":
            return words.ended
        if words.ended.status == "failed":
            return Ended("failed", f"rank {number} failed: {words.ended.cause}", "", 1, "communication")
    return None


@dataclass
class Signs:
    """Writes where this rank is, in place: its folder does not change by it, and a full disk does no harm."""

    job_folder: Path
    rank: Rank
    step: int = 0
    doing: str = ""
    _due: float = -math.inf
    _written: str = ""  # what it did
    _file: int = -1

    def take(self, event: Event) -> None:
        """Take in an event of this rank, on its way to the log or to nowhere."""
        if isinstance(event, Metrics) and "loss" in event.values:
            self.step, self.doing = event.step, "training"
        elif isinstance(event, Phase):
            self.doing = event.name

    def look(self, now: float) -> None:
        """Write where the main thread is, if the last sign is old or of another phase; `now` is monotonic."""
        if now < self._due and self.doing == self._written:
            return
        self._due, self._written = now + SIGN_S, self.doing
        stack = stack_dumps.main_thread()
        where = str(stack.frames[0]) if stack.frames else ""
        sign = msgspec.json.encode(Sign(self.step, self.doing, where[: SIGN_BYTES // 4], stack.meets))
        try:
            if self._file < 0:
                file = self.job_folder / "ranks" / f"{self.rank.number}.sign"
                self._file = open_own(file, os.O_WRONLY | os.O_CREAT)
            os.pwrite(self._file, sign.ljust(SIGN_BYTES), 0)
        except OSError:
            return  # the next look tries again


def signs(job_folder: Path) -> dict[int, tuple[float, Sign]]:
    """Read the ranks' newest signs, by number, each with when it was written; what can't be read is left out."""
    found = {}
    for file in (job_folder / "ranks").glob("*.sign"):
        try:
            sign = msgspec.json.decode(read_own(file, SIGN_BYTES), type=Sign)
            found[int(file.stem)] = file.stat().st_mtime, sign
        except (OSError, ValueError, msgspec.DecodeError):
            continue
    return found


def late(job_folder: Path, count: int) -> Late | None:
    """Return which of a hung job's ranks the others wait for; None where that can't be told.

    First one that never began, then one that is stopped or writes no signs, then one that is behind the others, then
    one that is elsewhere while others wait. Where all wait for one another, none is late: their exchange does not end.
    """
    began, seen = read(job_folder), signs(job_folder)
    if missing := [number for number in range(count) if number not in began]:
        if not began:
            return Late(f"none of {count} ranks has begun", "their launcher waits")
        names = ", ".join(map(str, missing))
        return Late(f"rank {names} has not begun" if len(missing) == 1 else f"ranks {names} have not begun")
    step = max((sign.step for _, sign in seen.values()), default=0)
    newest = max((at for at, _ in seen.values()), default=0.0)
    for number, words in began.items():
        if words.boot == processes.boot_id() and processes.stat_field(words.pid, 0) == processes.STOPPED:
            return _late(number, words, seen.get(number), step, "is stopped by a signal")
    for number, words in began.items():
        at, _ = seen.get(number, (0.0, Sign()))
        if newest - at > STALE_S:
            return _late(number, words, seen.get(number), step, "shows no signs of life")
    behind = [number for number, (_, sign) in seen.items() if sign.step < step]
    elsewhere = [number for number, (_, sign) in seen.items() if not sign.meets]
    for found in (behind, elsewhere):
        if found and len(found) < count:
            return _late(found[0], began[found[0]], seen[found[0]], step, "")
    if seen and not elsewhere:
        _, sign = seen[min(seen)]
        who = f"none of {count} ranks has finished {_what(sign, step)}"
        return Late(who, "each waits for the others", f"rank {min(seen)} waits in {sign.where}")
    return None


def _late(number: int, words: LastWords, seen: tuple[float, Sign] | None, step: int, how: str) -> Late:
    sign = Sign() if seen is None else seen[1]
    last = f"was last in {sign.where}" if sign.where else ""
    last += f", after step {sign.step}" if last and sign.step else ""
    did = ", and ".join(filter(None, (how, last)))
    who = f"rank {number} (pid {words.pid} on {words.host}) has not finished {_what(sign, step)}"
    return Late(who, did=f"rank {number} {did}" if did else "")


def _what(sign: Sign, step: int) -> str:
    """Name what a rank is at: a step that others have come to, or what is done around the steps."""
    is_old = step > sign.step + 1  # all ranks meet in each step
    if is_old or sign.doing in ("", "training"):
        return f"step {step + 1}" if step else "its first step"
    return sign.doing


@dataclass
class Peers:
    """The ranks of a job as last read: again once their folder changes or one here has ended, else ever more rarely."""

    job_folder: Path
    rank: Rank
    left: Mapping[int, LastWords] = field(default_factory=dict)
    _changed: int = -1  # when the folder last did, by its own clock
    _due: float = -math.inf
    _pause: float = LOOK_S

    def look(self, now: float) -> Ended | None:
        """Return how this rank must end; `now` is monotonic. Processes of this machine are looked at each time."""
        changed = self._last_change()
        is_known = changed == self._changed and now < self._due
        if not is_known or any(is_gone(words) for words in self.left.values() if words.ended is None):
            left = read(self.job_folder)
            self._pause = LOOK_S if left != self.left else min(2 * self._pause, READ_S)
            self.left, self._changed, self._due = left, changed, now + self._pause
        return follows(self.left, self.rank)

    def _last_change(self) -> int:
        try:
            return (self.job_folder / "ranks").stat().st_mtime_ns
        except OSError:
            return -1


@dataclass
class Watch:
    """A thread that looks at the other ranks, and ends this one if it hangs after another has died.

    A collective of NCCL whose peer is gone waits for ten minutes, and no signal handler of Python runs meanwhile.
    """

    peers: Peers
    leave: Callable[[Ended], None]  # says the last words, and does not come back
    ends: threading.Event
    signs: Signs | None = None

    def run(self) -> None:
        since: float | None = None
        while not self.ends.wait(LOOK_S):
            if self.signs is not None:
                self.signs.look(time.monotonic())
            word = self.peers.look(time.monotonic())
            if word is None:
                continue
            since = time.monotonic() if since is None else since
            if time.monotonic() - since >= GRACE_S and not self.ends.is_set():
                self.leave(word)


def watch(signs: Signs, leave: Callable[[Ended], None]) -> threading.Event:
    """Watch the other ranks, and show them where this one is, until the event that is returned is set.

    Alone, nobody is watched.
    """
    ends = threading.Event()
    if signs.rank.count > 1:
        watching = Watch(Peers(signs.job_folder, signs.rank), leave, ends, signs)
        threading.Thread(target=watching.run, name="ranks", daemon=True).start()
    return ends


def main() -> None:
    """Become the command that the command line names, with the environment of so many ranks on this node."""
    os.environ.update(launch_environment(int(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
