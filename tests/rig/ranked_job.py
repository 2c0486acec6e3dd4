"""A job as the supervisor starts it, in as many ranks as its job.json sets: the real training, on a tiny model.

python ranked_job.py JOB_FOLDER
"""

import os
import sys
from pathlib import Path

from finetop.core.runtime import ranks
from finetop.core.supervisor.launchers.local import ranks_of

folder = Path(sys.argv[1])
command = ranks.launch_command(folder, ranks_of(folder))
os.execv(command[0], command)
