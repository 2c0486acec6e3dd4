"""Reads what a killed command wrote and its job did not read: `python -m finetop.core.external.last_read JOB_FOLDER`.

The supervisor starts it when such a job has ended, before it decides what follows. It exits
with LOCKED while another process has the job's lock.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from finetop.core.external import reading
from finetop.core.external.note import LOCKED
from finetop.core.recipe.job import Job
from finetop.core.runtime import keeper
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.job_folder import read_spec
from finetop.core.runtime.stop_signal import Stop


def main() -> int:
    os.umask(0o077)
    folder = Path(sys.argv[1])
    lock = keeper.take_lock(folder / "lock")
    if lock is None:
        return LOCKED
    spec = read_spec(folder)
    events = EventLog(folder / "events.jsonl")
    events.number_behind(spec.events_taken)
    reading.finish(Job(spec, folder, events, Stop()))
    events.sync()
    return 0


if __name__ == "__main__":
    sys.exit(main())
