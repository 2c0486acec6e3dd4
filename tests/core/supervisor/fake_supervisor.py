"""The real supervisor, whose jobs run fake_job.py in place of the trainer."""

import os
import sys
from pathlib import Path

from finetop.core.fault_points import SWITCH
from finetop.core.supervisor import __main__ as program
from finetop.core.supervisor import schedule, spare
from finetop.core.supervisor.launch import local

FAKE = os.environ.get("FINETOP_TEST_JOB", str(Path(__file__).with_name("fake_job.py")))


def main() -> int:
    local.job_command = lambda verb, folder: [sys.executable, FAKE, str(folder)]
    spare.command = lambda file: [sys.executable, FAKE, "--wait", str(file)]
    spare.LOOK_S = spare.SETTLE_S = 0.1
    spare.IDLE_S = float(os.environ.get("FINETOP_TEST_IDLE_S", spare.IDLE_S))
    schedule.START_GRACE_S = 2.0
    schedule.SLOTS = int(os.environ.get("FINETOP_TEST_SLOTS", schedule.SLOTS))
    let_first_keeper_die(os.environ.get("FINETOP_TEST_ABORT_KEEPER"))
    return program.main()


def let_first_keeper_die(place: str | None) -> None:
    """Have the first keeper die at a place between two effects, and no other."""
    submit, first = local.submit, iter([{SWITCH: place}] if place else [])
    local.submit = lambda folder, attempt, verb, own: submit(
        folder, attempt, verb, {**own, **next(first, {})}
    )


if __name__ == "__main__":
    sys.exit(main())
