"""Ranks on several nodes that average a number by gloo at each step, stop as training does, save and resume.

    srun … torchrun … nodes_job.py JOB_FOLDER

Everything around the work is the product's own: the process, its signals, what ranks leave, how they agree. It
imports a fifth of what training does, and learns nothing.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from fake_job import save

from finetop.core.models import collectives
from finetop.core.protocol import events
from finetop.core.protocol.runs import JobSpec
from finetop.core.runtime import job_process
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.stop_signal import Stop

STEPS, STEP_S = 100_000, 0.05


def work(spec: JobSpec, folder: Path, log: EventLog, stop: Stop) -> events.Ended:
    import torch

    collectives.join("cpu")
    attempt = job_process.attempt_of(folder)
    log.write(events.Started(1, attempt, os.getpid(), "cpu", "float32", {"fake": "1"}))
    begun = spec.args.get("resume", {}).get("step", 0)
    log.write(events.Planned(STEPS, 1.0, 10, 0, 100, 1, 1))
    if begun:
        log.write(events.Resumed(begun))
    stop.is_training = True
    for step in range(begun + 1, STEPS + 1):
        gradient = torch.ones(1000)
        torch.distributed.all_reduce(gradient)
        time.sleep(STEP_S)  # a step's time
        log.write(events.metrics(step, {"loss": 1 / step}))
        log.write(events.Phase("training", step, STEPS, "steps", 1.0))
        if collectives.largest([bool(stop.reason)])[0]:
            if collectives.rank() == 0:
                save(log, folder, step)
            break
    collectives.leave()
    return events.Ended("stopped", f"asked to stop, after step {step}", kind="asked")


if __name__ == "__main__":
    sys.exit(job_process.run(Path(sys.argv[1]), work, lambda folder: ""))
