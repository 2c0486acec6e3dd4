"""A job of two ranks that average a tensor with gloo at each step; in step 5 the second is late, as long as allowed.

python gloo_job.py JOB_FOLDER [RANK]
"""

import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from finetop.core.protocol import events
from finetop.core.runtime import event_log

STEPS = 50


def main() -> int:
    folder = Path(sys.argv[1])
    if len(sys.argv) == 2:
        ranks = [
            subprocess.Popen(
                [sys.executable, __file__, str(folder), str(rank)],
                env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"},
            )
            for rank in range(2)
        ]
        return max(rank.wait() for rank in ranks)
    faulthandler.register(signal.SIGUSR2)
    train(folder, int(sys.argv[2]))
    return 0


def train(folder: Path, rank: int) -> None:
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    log = event_log.EventLog(folder / "events.jsonl") if rank == 0 else None
    if log is not None:
        log.write(events.Started(1, 1, os.getpid(), "cpu", "float32", {}))
    for step in range(1, STEPS + 1):
        if rank == 1 and step == 5:
            read_rows(folder / "go")
        gradient = torch.ones(1000)
        dist.all_reduce(gradient)
        if log is not None:
            log.write(events.metrics(step, {"loss": 1 / step}))
            log.write(events.Phase("training", step, STEPS, "steps", (STEPS - step) * 0.01))
    if log is not None:
        log.write(events.Ended("finished"))
    dist.destroy_process_group()


def read_rows(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)  # between two looks


if __name__ == "__main__":
    sys.exit(main())
