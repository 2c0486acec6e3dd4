"""Takes in what the live jobs tell: all of them in one transaction, each its share, within a beat's time.

Their events are read aside, and committed where the store is: a share of work, not of waiting for a slow disk.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from finetop.core.runtime.crash_points import abort_at
from finetop.core.store import ingest
from finetop.core.supervisor.io_thread import aside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finetop.core.store.jobs import Job
    from finetop.core.supervisor.state import Supervisor

SHARE_S = 0.1  # of a beat: half to read, half to commit, while nobody is answered


async def take_in(supervisor: Supervisor, jobs: Sequence[Job], sizes: Mapping[int, int]) -> None:
    """Take in new events of jobs whose files have these sizes. `read_to` says which are in; if not, `behind` has them.

    Those that had no turn come first in the next beat, so a flood of one can't starve the others.
    """
    until = time.monotonic() + SHARE_S
    names = {job.id: job.run_name for job in jobs}
    runs = {job.id: job.run_id for job in jobs}
    turn = {job_id: place for place, job_id in enumerate(supervisor.behind)}
    files = {
        job.id: supervisor.home.root / job.folder / "events.jsonl"
        for job in sorted(jobs, key=lambda job: turn.get(job.id, len(turn)))
        if sizes[job.id] != supervisor.read_to.get(job.id)
    }
    supervisor.behind[:] = [job_id for job_id in supervisor.behind if job_id not in names]
    while files:
        places = ingest.places(supervisor.connection, list(files))
        batches = await aside(partial(ingest.read_all, places, files, work_s=SHARE_S / 2))
        taken = ingest.commit(supervisor.connection, list(files), batches)
        if taken.told:
            abort_at("events-taken")
            supervisor.touch(runs[job_id] for job_id in taken.told)
        for job_id, error in taken.newer.items():
            supervisor.newer[job_id] = f"{names[job_id]}: {error}"
        for job_id in files:
            # what a newer finetop's job says of its end can't be read either: it stays until that finetop comes
            if job_id not in taken.more and job_id not in taken.newer:
                supervisor.read_to[job_id] = sizes[job_id]
        more = [job_id for job_id in taken.more if job_id not in taken.newer]
        if time.monotonic() > until:
            supervisor.behind += more
            return
        files = {job_id: files[job_id] for job_id in more}
