"""When a training process that has imported everything waits for the next job; it is used once.

There is none before the first run of a home is queued, so whoever only looks pays nothing for it. It goes when nobody
has asked anything for a while, when the supervisor ends, and where memory is short. FINETOP_SPARE=0 switches it off,
FINETOP_SPARE=1 on whatever the memory, and from the start.
"""

from __future__ import annotations

import os
import time

import psutil

from finetop.core.store import run_records
from finetop.core.supervisor.gpus import pool
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
    """Return the environment that a job's process is started in, on these GPUs."""
    own = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **own, **pool.environment(supervisor, gpus)}


def tend(supervisor: Supervisor, *, is_busy: bool) -> None:
    """Warm a process up where one is wanted, and let it go where none is; busy is who runs a job, or is about to."""
    now = time.monotonic()
    if is_busy:
        supervisor.busy_at = now
    warm = supervisor.launcher.warm()
    if warm.waits and now - supervisor.asked_at > IDLE_S:
        let_go(supervisor)
    elif not warm.waits and is_wanted(supervisor, warm.failures, now):
        # CUDA reads which GPUs it may see once, when torch first asks: so one waits for the GPU that is next
        supervisor.launcher.warm_up(environment(supervisor, pool.guess(supervisor)))


def is_wanted(supervisor: Supervisor, failures: int, now: float) -> bool:
    """Return whether a process should wait: somebody is there, runs are made here, none is about to, memory is free."""
    if os.environ.get(SWITCH) == "0" or failures >= MOST_FAILURES:
        return False
    if supervisor.settings.slurm is not None:
        return False  # the next training job runs on a node
    if not supervisor.pool.has_looked:
        return False  # nobody knows yet which GPU is next
    if now - supervisor.asked_at > IDLE_S or now - supervisor.busy_at < SETTLE_S:
        return False
    if now - supervisor.looked_at < LOOK_S:
        return False
    supervisor.looked_at = now
    if os.environ.get(SWITCH) == "1":
        return True
    if run_records.next_number(supervisor.connection, "jobs") == 1:
        return False  # no run was ever queued here
    return psutil.virtual_memory().available > TIMES_FREE * MEMORY_BYTES


def let_go(supervisor: Supervisor) -> None:
    """End the process that waits."""
    if supervisor.launcher.let_go():
        supervisor.touch()


def words(supervisor: Supervisor) -> str:
    """Say in words which process waits, and what it holds."""
    warm = supervisor.launcher.warm()
    if not warm.waits:
        if warm.failures >= MOST_FAILURES:
            return f"none: it died {MOST_FAILURES} times while waiting, see spare.log"
        return f"none ({SWITCH}=0)" if os.environ.get(SWITCH) == "0" else "none now"
    if warm.pid is None:
        return "starting"
    try:
        held_mib = psutil.Process(warm.pid).memory_info().rss / 2**20
    except psutil.Error:
        return "none now"
    return f"process {warm.pid} waits for the next training job, {held_mib:.0f} MiB"
