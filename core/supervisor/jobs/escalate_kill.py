"""A kill that does not come about: the keeper was stopped by a signal itself, or does not answer."""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from finetop.core.runtime.processes import send_to
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.jobs import launch_local
from finetop.core.supervisor.jobs.exit_reason import HUNG

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.store.jobs import Job
    from finetop.core.supervisor.state import Supervisor

GO_ON_S = 3.0  # a keeper that is stopped goes on, to do what it was told
KILL_S = 15.0  # longer than a keeper takes; with it the kernel kills the job, and its mark finds the rest


async def insist(supervisor: Supervisor, job: Job) -> None:
    """See that a job that is to be killed ends, whatever its keeper does."""
    if job.asked not in ("kill", HUNG):
        return
    now = time.monotonic()
    waited = now - supervisor.killing.setdefault((job.id, job.attempt), now)
    if waited >= GO_ON_S:
        number = signal.SIGCONT if waited < KILL_S else signal.SIGKILL
        await aside(partial(_send, supervisor.home.root / job.folder, job.attempt, number))


def _send(folder: Path, attempt: int, number: int) -> None:
    known = launch_local.record(folder, attempt)
    if known is not None and launch_local.is_alive(folder):
        send_to(int(known["pid"]), known["start"], number)
