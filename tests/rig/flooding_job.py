"""A job that floods its log and its events, and records what it wrote in a side file.

    python flooding_job.py JOB_FOLDER

What it does is set in the recipe's `about`: JSON with `log`: "line" (one of `bytes`), "lines", "bar" (a progress bar
that never ends its line) or "endless" (no newline at all), `bytes` per write, pause_s between two; and events: how
many steps it reports per second (0: as many as it can).
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
    log.write(events.Started(1, int((folder / "attempt").read_text()), os.getpid(), "cpu", "float32", {}))
    log.write(events.Planned(1_000_000, 1.0, 10, 0, 100, 1, 1))
    size, kind = plan["bytes"], plan["log"]
    pieces = {
        "line": b"x" * (1 << 20),
        "lines": b"".join(b"line %d of a flood of lines\n" % number for number in range(size // 26)),
        "bar": b"",
        "endless": b"." * size,
    }
    step = written = 0
    began = time.monotonic()
    with (folder / "side.txt").open("w") as side:
        while not stopping:
            if kind == "bar":
                os.write(1, b"\r%d%%|%s|" % (step % 101, b"#" * size))
            elif kind != "line" or written < size:
                written += os.write(1, pieces[kind])
                if kind == "line" and written >= size:
                    os.write(1, b"\n")
            every = plan["events"]
            if not every or (time.monotonic() - began) * every > step:
                step += 1
                log.write(events.metrics(step, {"loss": 1.0 / step, "grad_norm": 0.5}))
                side.write(f"{step}\n")
            if plan.get("pause_s"):
                time.sleep(plan["pause_s"])  # a step's time
    log.write(events.Ended("stopped"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
