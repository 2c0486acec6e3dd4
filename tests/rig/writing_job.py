"""A job for measurements: six values per step through the real EventLog, from the moment that a file appears.

    python writing_job.py JOB_FOLDER

What it does is set in the recipe's `about`: JSON with steps, pause_s (0: as fast as it can), go (the file), after_s
(its wait after that), and noted: whether it records in noted.txt when each step was reported.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from finetop.core.protocol import events
from finetop.core.runtime import event_log
from finetop.core.runtime.job_folder import read_spec


def main() -> int:
    folder = Path(sys.argv[1])
    plan = json.loads(read_spec(folder).recipe["about"])
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    log = event_log.EventLog(folder / "events.jsonl")
    attempt = int((folder / "attempt").read_text())
    log.write(events.Started(1, attempt, os.getpid(), "cpu", "float32", {}))
    log.write(events.Planned(plan["steps"], 1.0, 10, 0, 100, 1, 1))
    while not Path(plan["go"]).exists() and not stopping:
        time.sleep(0.05)  # between two looks
    began = time.monotonic() + plan.get("after_s", 0.0)
    with (folder / "noted.txt").open("w") as noted:
        for step in range(1, plan["steps"] + 1):
            if stopping:
                break
            if plan["pause_s"]:
                time.sleep(max(0.0, began + step * plan["pause_s"] - time.monotonic()))  # a step's time
            values = {
                "loss": 2.0 + 1.0 / step, "learning_rate": 1e-4 / step, "grad_norm": 0.4 + step % 7 / 10,
                "tokens_per_s": 4100.0 + step % 13, "memory_gib": 3.25, "epoch": step / 1000,
            }  # fmt: skip
            if plan.get("noted"):
                noted.write(f"{step} {time.time():.6f}\n")
                noted.flush()
            log.write(events.Metrics(step, values))
            if plan["pause_s"]:
                log.write(events.Phase("training", float(step), float(plan["steps"]), "steps", 60.0))
    log.write(events.Ended("finished"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
