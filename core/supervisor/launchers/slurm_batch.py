"""How jobs go into Slurm's queue: which are submitted together, the options of sbatch, the batch script."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetop.core.runtime import processes, ranks
from finetop.core.supervisor.launchers import local, slurm_record
from finetop.core.supervisor.launchers.launcher import Attempt, Batch

FIRST_NODE = "$(hostname):$((20000 + SLURM_JOB_ID % 20000))"  # where the batch script runs
WARNING_S = 300  # before its time limit, a job is told to save
NODE = "finetop.core.supervisor.launchers.slurm_node"

Key = tuple[int, int]  # a job's id and its attempt


@dataclass(frozen=True)
class Order:
    """An attempt to be submitted."""

    attempt: Attempt
    batch: Batch
    variables: Mapping[str, str]
    mark: str
    came: float

    @property
    def key(self) -> Key:
        return self.attempt.job, self.attempt.number


@dataclass
class Group:
    """Attempts submitted together as one array; usually just one."""

    orders: list[Order]
    mark: str
    not_before: float = 0.0
    tried_at: float | None = None  # when an answer was lost or not understood
    because: str = ""  # why it is not in the queue yet


def options_of(group: Group) -> list[str]:
    """Return the sbatch options of a group: finetop's own, then the user's."""
    first, count = group.orders[0], len(group.orders)
    names = [f"{slurm_record.MARK} {first.attempt.folder.parents[1].name} attempt {first.attempt.number}"]
    if count > 1:
        names = [f"{slurm_record.MARK} sweep {first.batch.array}"]
    at_once = "" if first.batch.at_once is None else f"%{first.batch.at_once}"
    output = "/dev/null" if count > 1 else str(first.attempt.folder / "slurm.txt").replace("%", "%%")
    return [
        f"--job-name={first.batch.array if count > 1 else first.batch.name}",
        f"--comment={names[0]} {group.mark}",
        f"--output={output}", "--open-mode=append", "--input=none", "--requeue",
        f"--signal=B:TERM@{warning_s(first.batch.options)}",
        "--chdir=/", "--ntasks-per-node=1",
        *((f"--array=0-{count - 1}{at_once}",) if count > 1 else ()),
        *first.batch.options,
    ]  # fmt: skip


def warning_s(options: Sequence[str]) -> int:
    """Return how long before its time limit a job is told to save: five minutes, or a fifth of a short limit."""
    limit = next((option.removeprefix("--time=") for option in options if option.startswith("--time=")), "")
    return min(WARNING_S, int(seconds_of(limit) / 5)) if limit else WARNING_S


def seconds_of(limit: str) -> float:
    """Parse a time limit as Slurm does: minutes, minutes:seconds, hours:minutes:seconds, days-hours:minutes:seconds."""
    days, dash, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if dash:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 1:
        hours, minutes, seconds = 0, parts[0], 0
    else:
        hours, minutes, seconds = (0, *parts)[-3:]
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def command_of(folder: Path) -> list[str]:
    """Return the keeper's command; on several nodes torchrun on each, under one srun. The shell expands `$`."""
    nodes, count = local.nodes_of(folder), local.ranks_of(folder)
    if nodes == 1:
        return local.job_command(folder)
    step = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    step += ["--cpu-bind=none"]  # one multi-threaded task: its ranks share the cores
    each = max(1, count // nodes)  # ranks on each node
    meeting = {"rendezvous_id": "$SLURM_JOB_ID", "endpoint": FIRST_NODE}
    launch = ranks.launch_command(folder, each, nodes=nodes, **meeting)
    return [*step, *processes.python(ranks.__name__, str(each)), *launch]


def script_of(orders: Sequence[Order]) -> str:
    """Write the batch script, which replaces itself by the keeper of its attempt."""
    lines = ["#!/bin/sh", 'case "${SLURM_ARRAY_TASK_ID:-0}" in']
    for at, order in enumerate(orders):
        folder = order.attempt.folder
        own = [*processes.python(NODE, str(folder), str(order.attempt.number)), *command_of(folder)]
        output = f" >>{shlex.quote(str(folder / 'slurm.txt'))} 2>&1" if len(orders) > 1 else ""
        quoted = (f'"{word}"' if word.startswith("$") else shlex.quote(word) for word in own)
        lines.append(f"{at}) exec {' '.join(quoted)}{output};;")
    return "\n".join([*lines, "esac", ""])
