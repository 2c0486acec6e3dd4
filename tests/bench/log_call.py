"""What one log call costs, five values per step: the trainer's and finetop.log beside plain JSON, trackio and wandb.

    python tests/bench/log_call.py [--steps 5000]

Targets: at most 15 microseconds at the median for the trainer's (plain JSON lines with a flush about 10, trackio 12,
wandb 97), 3 for finetop.log.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bench

from finetop.core.external import client
from finetop.core.protocol import events
from finetop.core.runtime import event_log

VALUES = {
    "loss": 1.2345678, "learning_rate": 1.0e-4, "grad_norm": 0.4321, "tokens_per_s": 4103.2, "memory_gib": 3.2,
}  # fmt: skip

Log = Callable[[int], object]


def measure(log: Log, steps: int) -> tuple[float, float]:
    """Return microseconds per call: (median, 95th percentile)."""
    durations = []
    for step in range(steps):
        began = time.perf_counter()
        log(step)
        durations.append((time.perf_counter() - began) * 1e6)
    return statistics.median(durations), statistics.quantiles(durations, n=20)[-1]


def ours(folder: Path) -> Log:
    log = event_log.EventLog(folder / "events.jsonl")
    return lambda step: log.write(events.metrics(step, VALUES))


def script(folder: Path) -> Log:
    os.environ[client.METRICS] = str(folder / "metrics.jsonl")
    return lambda step: client.log("bench", step, **VALUES)


def plain(folder: Path) -> Log:
    file = (folder / "plain.jsonl").open("a")

    def log(step: int) -> None:
        file.write(json.dumps({"step": step, "time": time.time(), **VALUES}) + "\n")
        file.flush()

    return log


def trackio(folder: Path) -> Log:
    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio as library

    library.init(project="bench")
    return lambda step: library.log(VALUES)


def wandb(folder: Path) -> Log:
    import wandb as library

    run = library.init(
        project="bench", mode="offline", dir=str(folder), settings=library.Settings(silent=True)
    )
    return lambda step: run.log(VALUES)


def main() -> None:
    args = bench.options(__doc__, steps=5000)
    folder = Path(tempfile.mkdtemp())
    print(f"{'log call, 5 values':<24}{'median us':>10}{'p95 us':>10}")
    for name, make in (
        ("finetop events.jsonl", ours),
        ("finetop.log", script),
        ("plain JSON + flush", plain),
        ("trackio", trackio),
        ("wandb offline", wandb),
    ):
        try:
            median, high = measure(make(folder), args.steps)
        except Exception as error:  # a peer that is not installed or can't start here is named, not hidden
            print(f"{name:<24}not measured: {type(error).__name__}: {error}")
            continue
        print(f"{name:<24}{median:>10.1f}{high:>10.1f}", flush=True)
    os._exit(0)  # the peers' background threads wait for a server


if __name__ == "__main__":
    main()
