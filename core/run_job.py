"""The entry point of every job's process: `python -m finetop.core.run_job JOB_FOLDER`, started by a keeper.

The module of each kind of job (core/protocol/job_kinds.py) has `work(job)`, which does the job and returns how it
ended, and `IF_STOPPED`, the message if a stop request ended it. With `--warm FILE` the process imports what training
needs and waits for one job.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import BadInput
from finetop.core.plan.settled import settle_in_job
from finetop.core.protocol import job_kinds
from finetop.core.protocol.events import Ended
from finetop.core.recipe.job import Job, what_to_lower
from finetop.core.recipe.load import recipe_from_mapping
from finetop.core.runtime import job_process
from finetop.core.runtime.stop_signal import StopAsked

if TYPE_CHECKING:
    from finetop.core.protocol.runs import JobSpec, Verb
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.stop_signal import Stop

USAGE = "usage: python -m finetop.core.run_job JOB_FOLDER | --warm FILE"


def main() -> int:
    """Run the job in the folder on the command line, or wait for one. Return the exit code."""
    match sys.argv[1:]:
        case ["--warm", file]:
            from finetop.core.train import job as train_job

            folder = train_job.wait_for_job(Path(file))
            return 0 if folder is None else run(folder)
        case [folder]:
            return run(Path(folder).absolute())
    print(USAGE, file=sys.stderr)
    return 2


def run(job_folder: Path) -> int:
    """Run one job to its end. Return the exit code."""
    return job_process.run(job_folder, work, what_to_lower)


def work(spec: JobSpec, job_folder: Path, events: EventLog, stop: Stop) -> Ended:
    """Do the verb's work, and return how it ended."""
    if not spec.kind.work:
        verbs = ", ".join(job_kinds.kinds())
        raise BadInput(f"job.json: verb is {spec.verb[:60]!r}.", hint=f"Give one of {verbs}.")
    module = import_module(spec.kind.work)
    job = Job(spec, job_folder, events, stop)
    try:
        ended: Ended = module.work(job, *given_to(spec.verb))
    except StopAsked:
        return Ended("stopped", str(module.IF_STOPPED), kind="asked")
    except Exception:  # of a job.json that breaks a rule, as a changed one may, that is why
        recipe_from_mapping(spec.recipe, "job.json", to_train=spec.kind.trains_here)
        raise
    return ended


def given_to(verb: Verb) -> tuple[Callable[..., Any], ...]:
    """Return what a job gets of rooms above its own: training gets what `auto` means."""
    return (settle_in_job,) if job_kinds.of(verb).trains_here else ()


if __name__ == "__main__":
    sys.exit(main())
