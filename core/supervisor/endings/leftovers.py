"""Removes what a killed job left half written: a checkpoint in its run's folder, an export beside its target."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.models import checkpoint, save
from finetop.core.runtime import job_folder
from finetop.core.supervisor.io_thread import aside

if TYPE_CHECKING:
    from finetop.core.store.jobs import Job
    from finetop.core.supervisor.state import Supervisor

LIMIT_S = 10.0  # the end of an export is not held back by a disk that does not answer


async def clear(supervisor: Supervisor, job: Job) -> None:
    """Remove the half-written folders of a job whose processes are gone, before it may be tried again."""
    if job.kind.makes_a_run:
        run_folder = job_folder.run_folder_of(supervisor.home.root / job.folder)
        await aside(partial(checkpoint.clear_leftovers, run_folder))
    others = {other.args.get("to") for other in supervisor.live if other.id != job.id}
    if (target := job.kind.half_written(job.args)) and target not in others:
        with suppress(TimeoutError):  # the thread goes on
            await asyncio.wait_for(aside(partial(save.clear_leftovers, Path(target))), LIMIT_S)
