"""A job for tests: commands, watches, imports and pushes as they are, all other verbs as fake_job.py does them.

python command_job.py JOB_FOLDER
"""

import runpy
import sys
from pathlib import Path

from finetop.core import run_job
from finetop.core.runtime.job_folder import read_spec

REAL = ("command", "watch", "import", "push")

if __name__ == "__main__":
    if sys.argv[1] != "--wait" and read_spec(Path(sys.argv[1])).verb in REAL:
        sys.exit(run_job.main())
    runpy.run_path(str(Path(__file__).with_name("fake_job.py")), run_name="__main__")
