"""Slurm's own commands as plain calls with a time limit: sbatch, squeue, scancel, sinfo, sacct.

Calls may take as long as the limit, so they are made in a thread. Without a controller squeue and sbatch block for 9 s.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

LIMIT_S = 30.0
MOST_HOSTS = 10_000  # of one text
# Parts of a client's message when it never reached the controller or lost its answer.
UNREACHABLE = (
    "Unable to contact", "Socket timed out", "Connection refused", "Zero Bytes were transmitted",
    "Connection timed out", "Unable to connect", "Transport endpoint is not connected", "Unexpected message received",
    "Connection reset by peer", "Connection aborted", "Broken pipe", "No route to host", "Network is unreachable",
    "Host is down", "Communication connection failure", "Communication send failure", "Communication receive failure",
    "Communication shutdown failure", "Header lengths are longer than data received", "missing socket error",
)  # fmt: skip
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
ACTIVE = {
    "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING",
}  # fmt: skip
# SLURM_* of a job that the supervisor runs in would be read as options; GPUs are assigned by Slurm.
KEPT = {"SLURM_CONF", "SLURM_CLUSTERS"}
NOT_PASSED_ON = {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"}


class NoAnswer(Exception):
    """The controller did not answer, or its answer was lost: the command may have taken effect."""


class CommandFailed(Exception):
    """The command failed; holds its own message."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A job as squeue lists it."""

    id: str  # 123_4 for an array task
    state: str
    reason: str
    nodes: str
    comment: str

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def is_stuck(self) -> bool:
        """Whether Slurm could not start it (as when its controller is killed mid-launch) and holds it for ever."""
        return self.reason.startswith(("launch fail", "JobLaunchFailure", "JobHoldMaxRequeue"))

    @property
    def is_over(self) -> bool:
        return self.state not in WAITING and self.state not in ACTIVE


@dataclass(frozen=True, slots=True)
class Node:
    """A node as sinfo lists it, with its GPUs."""

    name: str
    state: str  # idle, mixed, allocated, drained, down …
    partitions: str
    gpus: int
    used: int
    kind: str  # GPU type, as Slurm names it
    cpus: str  # allocated/idle/other/total
    reason: str  # why it is drained or down


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the base of a job's environment: the supervisor's, without what holds only on this machine."""
    left_out = {key for key in own if key.startswith("SLURM_")} - KEPT | NOT_PASSED_ON
    return {key: value for key, value in own.items() if key not in left_out}


def call(command: Sequence[str], *, given: str = "", own: Mapping[str, str] | None = None) -> str:
    """Run a command and return its output. Raises NoAnswer, `CommandFailed`."""
    variables = {**environment(os.environ if own is None else own), "SLURM_TIME_FORMAT": "standard"}
    try:
        process = subprocess.run(
            command, input=given, capture_output=True, encoding="utf-8", errors="replace", timeout=LIMIT_S,
            env=variables, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NoAnswer(f"{command[0]} took more than {LIMIT_S:g} s") from error
    except OSError as error:
        raise CommandFailed(f"{command[0]}: {error.strerror}") from error
    if process.returncode == 0:
        return process.stdout
    message = " ".join(process.stderr.split())[:500] or f"{command[0]} ended with code {process.returncode}"
    if any(command in message for command in UNREACHABLE):
        raise NoAnswer(message)
    raise CommandFailed(message)


def submit(options: Sequence[str], script: str, own: Mapping[str, str]) -> str:
    """Submit a batch script and return the job's id. Raises NoAnswer, `CommandFailed`."""
    answer = call(["sbatch", "--parsable", *options], given=script, own=own)
    number = answer.strip().splitlines()[-1].partition(";")[0] if answer.strip() else ""
    if not number.isdecimal():
        raise CommandFailed(f"sbatch answered {answer.strip()[:200]!r}")
    return number


def listing() -> list[Listed]:
    """List this user's jobs, including those that ended a few minutes ago. Raises NoAnswer, `CommandFailed`."""
    answer = call(["squeue", "--me", "--states=all", "--array", "--noheader", "--format=%i|%T|%r|%N|%k"])
    return [Listed(*parts) for line in answer.splitlines() if len(parts := line.split("|", 4)) == 5]


def cancel(job: str, *options: str) -> None:
    """Cancel a job, or signal it. Raises NoAnswer, `CommandFailed`."""
    call(["scancel", *options, job])


def nodes() -> list[Node]:
    """List the cluster's nodes. Raises NoAnswer, `CommandFailed`."""
    form = "NodeList:|,StateLong:|,Partition:|,Gres:|,GresUsed:|,CPUsState:|,Reason:"
    answer = call(["sinfo", "--Node", "--noheader", f"--Format={form}"])
    by_name: dict[str, Node] = {}
    for line in answer.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) < 7:
            continue
        name, state, partition, gres, used, cpus = parts[:6]
        if name in by_name:  # listed once per partition
            partition = f"{by_name[name].partitions}, {partition}"
        reason = "" if parts[6] in ("none", "(null)") else parts[6]
        count, kind = _gpus(gres)
        state = state.rstrip("*~#!%$@^-")
        by_name[name] = Node(name, state, partition, count, _gpus(used)[0], kind, cpus, reason)
    return list(by_name.values())


def _gpus(text: str) -> tuple[int, str]:
    """Return the count and type of the GPUs in a text such as 'gpu:rtx:4(S:0-1),shard:8'."""
    count, kind = 0, ""
    for part in text.split(","):
        fields = part.partition("(")[0].split(":")
        if fields[0] == "gpu" and fields[-1].isdecimal():
            count += int(fields[-1])
            kind = fields[1] if len(fields) > 2 else kind
    return count, kind


def ended(job: str) -> str:
    """Return how a job ended according to Slurm's accounting; '' if it does not know. Raises NoAnswer."""
    options = ["--allocations", "--noheader", "--parsable2", "--format=State"]
    try:
        answer = call(["sacct", "--jobs", job, *options])
    except CommandFailed:
        return ""  # this cluster has no accounting
    return answer.partition("\n")[0].partition(" ")[0].strip()


def hosts(text: str) -> list[str]:
    """List the hosts of Slurm's short form: n[1-3,7] is n1, n2, n3 and n7."""
    found: list[str] = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        found += _expanded(part)
    return found[:MOST_HOSTS]


def _expanded(part: str) -> Iterator[str]:
    before, bracket, rest = part.partition("[")
    if not bracket:
        yield part
        return
    inside, _, after = rest.partition("]")
    for piece in inside.split(","):
        first, _, last = piece.partition("-")
        numbers = [piece]
        if first.isdecimal() and last.isdecimal():
            end = min(int(last), int(first) + MOST_HOSTS)
            numbers = [f"{number:0{len(first)}d}" for number in range(int(first), end + 1)]
        for number in numbers:
            for ending in _expanded(after) if after else ("",):
                yield f"{before}{number}{ending}"
