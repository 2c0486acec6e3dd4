"""Takes in what the live jobs tell: all of them in one transaction, each its share, within a beat's time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from finetop.core.store import ingest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from finetop.core.store.jobs import Job
    from finetop.core.supervisor.state import Supervisor

SHARE_S = 0.1  # of a beat: then clients are answered


def take_in(supervisor: Supervisor, jobs: Sequence[Job]) -> bool:
    """Take in new events of jobs. Returns whether that was all; if not, the next beat comes at once.

    Those that had no turn come first then, so a flood of one can't starve the others.
    """
    until = time.monotonic() + SHARE_S
    names = {job.id: job.run_name for job in jobs}
    runs = {job.id: job.run_id for job in jobs}
    turn = {job_id: place for place, job_id in enumerate(supervisor.behind)}
    sizes: dict[int, int] = {}
    files: dict[int, Path] = {}
    for job in sorted(jobs, key=lambda job: turn.get(job.id, len(turn))):
        file = supervisor.home.root / job.folder / "events.jsonl"
        try:
            size = file.stat().st_size
        except FileNotFoundError:
            continue
        if size != supervisor.read_to.get(job.id):
            files[job.id], sizes[job.id] = file, size
    supervisor.behind[:] = [job_id for job_id in supervisor.behind if job_id not in names]
    is_all = True
    while files:
        taken = ingest.take_in_all(supervisor.connection, files, until=until)
        if taken.told:
            supervisor.touch(runs[job_id] for job_id in taken.told)
        for job_id, error in taken.newer.items():
            supervisor.newer[job_id] = f"{names[job_id]}: {error}"
            is_all = False  # what it says of its end can't be read either: it stays until that finetop comes
        more = [job_id for job_id in taken.more if job_id not in taken.newer]
        for job_id in files:
            if job_id not in taken.more and job_id not in taken.newer:
                supervisor.read_to[job_id] = sizes[job_id]
        if time.monotonic() > until:
            supervisor.behind += more
            return is_all and not more
        files = {job_id: files[job_id] for job_id in more}
    return is_all
