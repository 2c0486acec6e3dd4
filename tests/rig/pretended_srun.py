"""The processes below a keeper on several nodes: an srun whose tasks are no descendants of it, and one task.

    python pretended_srun.py srun FOLDER
    python pretended_srun.py rank FOLDER NUMBER

Like Slurm's own, srun answers SIGTERM by killing all tasks, and ends once they have; FOLDER/tasks names them. A rank
writes its process id to FOLDER/ranks, saves when it is asked to, and ends.
"""

import os
import signal
import sys
import time
from pathlib import Path

from finetop.core.runtime import processes, ranks
from finetop.core.runtime.ranks import Rank


def srun(folder: Path) -> int:
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: signals.append(1))
    (folder / "srun").touch()
    while not (folder / "tasks").exists():
        time.sleep(0.01)  # between two looks
        if signals:
            return 143
    tasks = [int(pid) for pid in (folder / "tasks").read_text().split()]
    while any(processes.alive(pid) for pid in tasks):
        if signals:
            for pid in tasks:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)  # between two looks
    return 143 if signals else 0


def rank(folder: Path, number: int) -> int:
    ranks.begin(folder, Rank(number, 2))
    (folder / "deaf").touch()
    while (folder / "stay-deaf").exists():
        time.sleep(0.01)  # between two looks
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: signals.append(1))
    (folder / "listens").touch()
    while not signals:
        time.sleep(0.01)  # between two looks
    (folder / "saved").touch()
    return 0


if __name__ == "__main__":
    where = Path(sys.argv[2])
    sys.exit(srun(where) if sys.argv[1] == "srun" else rank(where, int(sys.argv[3])))
