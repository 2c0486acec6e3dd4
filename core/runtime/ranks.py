"""The ranks of a job that trains in several processes: how they are started, who is who, what each says at its end.

torchrun (`python -m torch.distributed.run`) starts them below the job's keeper and ends all once one fails. Rank 0
alone writes the job's events; every rank has a file JOB_FOLDER/ranks/R.json with its process and its last words, by
which the others, and whoever reads how the job ended, know which rank died and why.

    python -m finetop.core.runtime.ranks COUNT COMMAND…

becomes the command that starts so many ranks on a node of several, with a fair share of that node's cores for each.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from finetop.core.protocol.events import Ended
from finetop.core.runtime import processes
from finetop.core.runtime.files import read_own, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SAVE_S = 6 * 3600  # that torchrun gives ranks which were asked to stop: a large checkpoint takes its time
LOOK_S = 0.5  # between two looks at the other ranks of this machine
# Between two reads of what all have left, while nothing changes: the files may be another machine's (NFS), and each
# rank reads all others'. So much later a rank hears what one on another machine said.
READ_S = 10.0
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
    words = LastWords(pid, processes.start_time(pid), processes.boot_id(), ended, time.time())
    write_whole(job_folder / "ranks" / f"{rank.number}.json", msgspec.json.encode(words))


def clear(job_folder: Path) -> None:
    """Remove what the ranks of an earlier attempt left."""
    for file in (job_folder / "ranks").glob("*.json"):
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

    def run(self) -> None:
        since: float | None = None
        while not self.ends.wait(LOOK_S):
            word = self.peers.look(time.monotonic())
            if word is None:
                continue
            since = time.monotonic() if since is None else since
            if time.monotonic() - since >= GRACE_S and not self.ends.is_set():
                self.leave(word)


def watch(job_folder: Path, rank: Rank, leave: Callable[[Ended], None]) -> threading.Event:
    """Watch the other ranks until the event that is returned is set. Alone, nobody is watched."""
    ends = threading.Event()
    if rank.count > 1:
        watching = Watch(Peers(job_folder, rank), leave, ends)
        threading.Thread(target=watching.run, name="ranks", daemon=True).start()
    return ends


def main() -> None:
    """Become the command that the command line names, with the environment of so many ranks on this node."""
    os.environ.update(launch_environment(int(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
