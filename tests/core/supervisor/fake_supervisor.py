"""The real supervisor, whose jobs run fake_job.py in place of the trainer."""

import sys
from pathlib import Path

from finetop.core.supervisor import __main__ as program
from finetop.core.supervisor import schedule
from finetop.core.supervisor.launch import local

FAKE = str(Path(__file__).with_name("fake_job.py"))


def main() -> int:
    local.job_command = lambda verb, folder: [sys.executable, FAKE, str(folder)]
    schedule.START_GRACE_S = 2.0
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
