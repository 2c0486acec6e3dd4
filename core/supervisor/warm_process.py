"""Keeps a training process that has imported everything waiting for the next job; each is used once.

There is none before the first run of a home is queued, so it costs nothing to only look. It ends after a while without
requests, when the supervisor ends, and when memory is short. FINETOP_SPARE=0 switches it off, FINETOP_SPARE=1 enables
it from the start whatever the memory.
"""

from __future__ import annotations

import os
import time

import psutil

from finetop.core.protocol import runs as data
from finetop.core.runtime import cgroups
from finetop.core.store import run_records
from finetop.core.supervisor.gpus import pool
from finetop.core.supervisor.gpus.placement import Placement
from finetop.core.supervisor.state import Supervisor

SWITCH = "FINETOP_SPARE"
MEMORY_BYTES = 600 << 20  # 530 MB of imports, and a little
TIMES_FREE = 4  # multiple of that which must be free
IDLE_S = 15 * 60.0  # since the last request
LOOK_S = 2.0  # between two checks of free memory
SETTLE_S = 1.0  # idle time before one is started: a run that ends may queue its check
MOST_FAILURES = 3  # in a row, of processes that died while waiting


def environment(supervisor: Supervisor, gpus: Placement, verb: data.Verb = "train") -> dict[str, str]:
    """Return the environment for a job's process on these GPUs."""
    own = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **own, **pool.environment(supervisor, gpus, verb)}


def update(supervisor: Supervisor, *, is_busy: bool) -> None:
    """Start a waiting process if one is wanted, end it if not; `is_busy`: a job runs or is about to."""
    now = time.monotonic()
    if is_busy:
        supervisor.busy_at = now
    warm = supervisor.launcher.warm()
    if warm.waits and now - supervisor.asked_at > IDLE_S:
        let_go(supervisor)
    elif not warm.waits and is_wanted(supervisor, warm.failures, now):
        # CUDA reads the visible GPUs once, when torch first asks, so each process is for the GPU that is next
        supervisor.launcher.warm_up(environment(supervisor, pool.guess(supervisor)))


def is_wanted(supervisor: Supervisor, failures: int, now: float) -> bool:
    """Return True if a process should wait: clients and runs are here, no job is about to start, memory is free."""
    if os.environ.get(SWITCH) == "0" or failures >= MOST_FAILURES:
        return False
    if supervisor.settings.slurm is not None or not supervisor.pool.has_looked:
        return False  # the next training job runs on a node, or its GPU is not known yet
    if now - supervisor.asked_at > IDLE_S or now - supervisor.busy_at < SETTLE_S:
        return False
    if now - supervisor.looked_at < LOOK_S:
        return False
    supervisor.looked_at = now
    if os.environ.get(SWITCH) == "1":
        return True
    if run_records.next_number(supervisor.connection, "jobs") == 1:
        return False  # no run was ever queued here
    return cgroups.free_memory() > TIMES_FREE * MEMORY_BYTES


def let_go(supervisor: Supervisor) -> None:
    """End the waiting process."""
    if supervisor.launcher.let_go():
        supervisor.touch()


def describe(supervisor: Supervisor) -> str:
    """Describe the waiting process and its memory."""
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
