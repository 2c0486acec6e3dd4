"""Has the rest of a killed command's numbers read, by a process of its own, before the job's end is settled."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from finetop.core.external.note import FILE, LOCKED
from finetop.core.runtime import child
from finetop.core.supervisor.io_thread import aside

if TYPE_CHECKING:
    from pathlib import Path

    from finetop.core.store.jobs import Job
    from finetop.core.supervisor.state import Supervisor

MODULE = "finetop.core.external.last_read"
LONGEST_S = 120.0
LOCKED_S = 0.5
MOST_TRIES = 3  # the reader itself may be killed; one that takes too long is not started again


async def is_over(supervisor: Supervisor, job: Job) -> bool:
    """Return whether nothing of a dead job is left to read; if something is, start to read it, or wait for that.

    Once a read has ended, the caller has to look again: the size that it has seen may be older than what was written.
    """
    if not job.kind.is_command:
        return True
    attempt = (job.id, job.attempt)
    tries = supervisor.last_reads.setdefault(attempt, [])
    if tries and not tries[-1].done():
        return False
    folder = supervisor.home.root / job.folder
    if (
        len(tries) >= MOST_TRIES
        or (tries and not tries[-1].result())
        or not await aside(partial((folder / FILE).exists))
    ):
        is_seen = not tries or attempt in supervisor.read_out
        supervisor.read_out.add(attempt)
        return is_seen
    tries.append(asyncio.create_task(_read(folder)))
    supervisor.touch()  # its place is free for another job
    return False


async def _read(folder: Path) -> bool:
    """Start the reader; return False if it took too long. What it has read until then counts."""
    try:
        async with asyncio.timeout(LONGEST_S):
            while (await child.answer(MODULE, str(folder), asked=b"")).code == LOCKED:
                await asyncio.sleep(LOCKED_S)  # such as the reader of a supervisor that was killed
    except TimeoutError:
        return False
    except OSError:
        return True
    return True
