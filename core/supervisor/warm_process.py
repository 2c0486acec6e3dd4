"""The spare: a training process that has imported everything and waits under its own keeper for the next job.

It is used once. It goes when nobody has asked anything for a while, when the supervisor ends (its keeper sees the pipe
close), and where memory is short. FINETOP_SPARE=0 switches it off, FINETOP_SPARE=1 on whatever the memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from finetop.core.runtime.crash_points import abort_at
from finetop.core.supervisor.gpus import pool
from finetop.core.supervisor.state import Spare

if TYPE_CHECKING:
    from finetop.core.runtime.home import Home
    from finetop.core.supervisor.gpus.placement import Placement
    from finetop.core.supervisor.state import Supervisor

SWITCH = "FINETOP_SPARE"
MEMORY_BYTES = 600 << 20  # what it holds: 530 MB of imports, and a little
TIMES_FREE = 4  # it must be worth it: so many times that is to be free
IDLE_S = 15 * 60.0  # since anybody asked anything
LOOK_S = 2.0  # between two looks at the memory
SETTLE_S = 1.0  # nothing may have run or waited for so long: a run that ends may queue its check
MOST_FAILURES = 3  # in a row, of processes that died while they waited


def environment(supervisor: Supervisor, gpus: Placement) -> dict[str, str]:
    """Give the environment that a job's process is started in, on these GPUs."""
    own = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **own, **pool.environment(supervisor, gpus)}


def tend(supervisor: Supervisor, *, is_busy: bool) -> None:
    """Start a spare where one is wanted, and let it go where none is; busy is who runs a job, or is about to."""
    now = time.monotonic()
    if is_busy:
        supervisor.busy_at = now
    held = supervisor.spare
    if held is not None and held.keeper.poll() is not None:
        supervisor.spare = None
        supervisor.spare_failures += 1
        supervisor.touch()
    elif held is not None and now - supervisor.asked_at > IDLE_S:
        let_go(supervisor)
    elif held is None and is_wanted(supervisor, now):
        # CUDA reads which GPUs it may see once, when torch first asks: so one waits for the GPU that is next
        supervisor.spare = start(supervisor.home, environment(supervisor, pool.guess(supervisor)))


def is_wanted(supervisor: Supervisor, now: float) -> bool:
    """Say if a process should wait: somebody is there, nothing runs or is about to, and the memory is free."""
    if os.environ.get(SWITCH) == "0" or supervisor.spare_failures >= MOST_FAILURES:
        return False
    if not supervisor.pool.has_looked:
        return False  # nobody knows yet which GPU is next
    if now - supervisor.asked_at > IDLE_S or now - supervisor.busy_at < SETTLE_S:
        return False
    if now - supervisor.looked_at < LOOK_S:
        return False
    supervisor.looked_at = now
    return os.environ.get(SWITCH) == "1" or psutil.virtual_memory().available > TIMES_FREE * MEMORY_BYTES


def start(home: Home, own: dict[str, str]) -> Spare | None:
    """Start a process in an environment, that imports, then waits. None where it can't be started."""
    file = home.root / "spare.json"
    try:
        file.unlink(missing_ok=True)
        with (home.root / "spare.log").open("wb") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "finetop.core.runtime.keeper", "--spare", *command(file)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=own,
            )  # fmt: skip
    except OSError:
        return None
    return Spare(keeper, own, file)


def command(file: Path) -> list[str]:
    """Give the command that waits."""
    return [sys.executable, "-m", "finetop.core.run_job", "--warm", str(file)]


def hand_over(
    supervisor: Supervisor, folder: Path, attempt: int, own: list[str], environment: dict[str, str]
) -> subprocess.Popen[bytes] | None:
    """Give a training job to the process that waits. None where there is none, or it waits in another environment.

    `own` is the command of a process of its own, for the keeper to start if the one that waits has just died.

    The job's lock and attempt are as for a new keeper. What was written to the pipe is read, also when the supervisor
    dies now.
    """
    held, supervisor.spare = supervisor.spare, None
    if held is None:
        return None
    fits = held.environment == environment
    line = json.dumps({"folder": str(folder), "attempt": attempt, "command": own}).encode() + b"\n"
    try:
        if fits and held.keeper.poll() is None and held.keeper.stdin is not None:
            held.keeper.stdin.write(line)  # below the size that a pipe takes whole
            held.keeper.stdin.flush()
            abort_at("supervisor-told")
            held.keeper.stdin.close()
            supervisor.spare_failures = 0
            return held.keeper
    except OSError:
        pass  # it has just died: the job gets a process of its own
    supervisor.spare = held
    let_go(supervisor)
    return None


def let_go(supervisor: Supervisor) -> None:
    """End the process that waits; its keeper is reaped with those of jobs."""
    held, supervisor.spare = supervisor.spare, None
    if held is None:
        return
    try:
        held.end()
    except OSError:
        pass  # it is gone already
    supervisor.keepers.append(held.keeper)
    supervisor.touch()


def words(supervisor: Supervisor) -> str:
    """Say in words which process waits, and what it holds."""
    held = supervisor.spare
    if held is None:
        if supervisor.spare_failures >= MOST_FAILURES:
            return f"none: it died {MOST_FAILURES} times while it waited, see spare.log"
        return f"none ({SWITCH}=0)" if os.environ.get(SWITCH) == "0" else "none now"
    pid = held.pid()
    if pid is None:
        return "is being made ready"
    try:
        held_mib = psutil.Process(pid).memory_info().rss / 2**20
    except psutil.Error:
        return "none now"
    return f"process {pid} waits for the next training job, {held_mib:.0f} MiB"
