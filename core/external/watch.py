"""The job of a watched run: another program, started without finetop, is read until it ends, and never signalled.

A watch that starts again reads everything again, so that nothing is lost or doubled.
"""

from __future__ import annotations

import time
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from finetop.core.external.client import METRICS
from finetop.core.external.job import NOT_IN_TIME, PACKAGES, WAIT_S, not_finite
from finetop.core.external.looks import Looks
from finetop.core.external.numbers import Numbers
from finetop.core.external.reading import PLACES, folders_of
from finetop.core.external.search import wanted
from finetop.core.external.sources import Places
from finetop.core.external.writers import Writers
from finetop.core.protocol.events import SKIPPED_OUTPUT, Alarm, Ended, Phase
from finetop.core.recipe.command import output_of
from finetop.core.runtime import processes
from finetop.core.runtime.job_process import attempt_of
from finetop.core.train.alarms import Alarms

if TYPE_CHECKING:
    from finetop.core.recipe.job import Job

IF_STOPPED = "no longer watched; the program itself was not touched"
QUIET_S = 600.0  # without a process to wait for: so long without new numbers means that it has ended


def environment_of(pid: int) -> dict[str, str]:
    """Return what a process's environment says of where it writes to; empty if it can't be read."""
    try:
        environment = psutil.Process(pid).environ() if pid else {}
    except psutil.Error:
        return {}
    return {key: environment[key] for key in PLACES if key in environment}


def started_at(pid: int, start: str) -> float:
    """Return when a process with this start time began, in seconds since 1970; 0 if that is not known.

    It may have ended before its watch went on.
    """
    if not pid or not start.isdecimal():
        return 0.0
    began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(start) / processes.TICKS_S
    return began if began <= time.time() else 0.0  # before the machine restarted


def work(job: Job) -> Ended:
    """Read the program's numbers until its process is gone, or nothing new has come for `QUIET_S`."""
    recipe = job.recipe()
    command = recipe.command
    assert command is not None
    pid, start = int(job.args.get("pid") or 0), job.args.get("start")
    job.started(f"process {pid}" if pid else "a folder", "", PACKAGES)
    log = Path(job.args["log"]) if job.args.get("log") else None
    environment = environment_of(pid)
    goes_on = attempt_of(job.folder) > 1 or bool(job.args.get("again"))
    alarms = Alarms(recipe, job.events)
    alarms.begin(0)
    numbers = Numbers(
        wanted(command.metrics),
        Places(
            folders_of(command),
            log,
            started_at(pid, str(start)) - 1.0,
            environment=environment,
            pattern=command.pattern or "",
        ),
        Writers(pid, environment.get(METRICS, ""), with_root=True),
        job.events,
        alarms,
        private=() if log is None else (log,),
        written_since=time.time() if pid and not goes_on else 0.0,
        goes_on=goes_on,
    )
    job.events.write(Phase("training"))
    news_at, step = time.monotonic(), -1
    looks = Looks(lambda is_last: numbers.read_new(is_last=is_last))
    while True:
        is_gone = pid > 0 and not (processes.alive(pid) and processes.start_time(pid) == start)
        if is_gone and not looks.look_at_last():
            job.events.write(Alarm(SKIPPED_OUTPUT, numbers.step, NOT_IN_TIME))
        elif not is_gone:
            looks.look()
        if numbers.step != step:
            news_at, step = time.monotonic(), numbers.step
        is_quiet = not pid and time.monotonic() - news_at >= QUIET_S
        if (is_gone or is_quiet) and not isfinite(alarms.loss):
            output = output_of(command)
            return not_finite(alarms.loss, numbers.step, str(output or "its output folder"))
        if is_gone:
            return Ended("finished")
        if is_quiet:
            return Ended("finished", f"nothing new was written for {QUIET_S / 60:.0f} minutes")
        time.sleep(WAIT_S)
