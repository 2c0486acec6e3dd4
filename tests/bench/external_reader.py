"""What reading a program's numbers costs, and what they cost the program: 20 metrics, 10 steps a second.

    python tests/bench/external_reader.py [--seconds 20] [--rate 10] [--metrics 20]

A process writes the numbers as trainers do, and another reads them once a second as a run's job does, into an event
log, with alarms; its CPU seconds are counted from its first look on. For each source: the reader's share of a core, and
the CPU of the writer alone and beside a reader. Targets: a reader needs less than 1 % of a core; the writer's cost is
the same with and without it. Exits 1 if a reader needs more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import bench
from metric_bytes import history, leveldb, scalars
from metric_files import Program

from finetop.core.external import numbers
from finetop.core.external.sources.wandb import BLOCK

MOST_PERCENT = 1.0
LOOK_S = 1.0  # as core/external/job.py looks


def write(source: str, folder: Path, seconds: float, rate: float, metrics: int) -> None:
    """Write so many metrics a step as a program does, with the calls that its library makes."""
    names = ["loss", *(f"metric_{number}" for number in range(1, metrics))]
    end, step, size = time.monotonic() + seconds, 0, 0
    with closing(open_file(source, folder)) as file:
        while time.monotonic() < end:
            step += 1
            values = dict.fromkeys(names, 1.0 / step + 0.1234567)
            if source == "stdout":
                data = (
                    f"step {step} " + " ".join(f"{name}={value:.6g}" for name, value in values.items()) + "\n"
                )
            elif source == "csv":
                header = f"step,{','.join(names)}\n" if step == 1 else ""
                data = header + f"{step}," + ",".join(map(str, values.values())) + "\n"
            else:
                data = json.dumps({"step": step, "time": time.time(), **values}) + "\n"
            if source == "tensorboard":
                file.write(scalars(step, time.time(), **values))
            elif source == "wandb":
                begins = bytes(size % BLOCK) if size else leveldb()
                record = leveldb(history(step, **values), begins=begins)[len(begins) if size else 0 :]
                size += file.write(record)
            else:
                file.write(data.encode())
            time.sleep(1 / rate)  # the rate of the program


def open_file(source: str, folder: Path):  # type: ignore[no-untyped-def]
    names = {
        "stdout": "log.txt", "csv": "metrics.csv", "lines": "metrics.jsonl", "tensorboard": "events.out.tfevents.1",
        "wandb": "wandb/run-1-a/run-a.wandb",
    }  # fmt: skip
    path = folder / names[source]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab", buffering=0)


def reader(folder: Path, seconds: float) -> float:
    """Return the share of a core, in percent, of reading everything once a second."""
    numbers.HOLD_S = 0.0
    program = Program(folder)
    program.look()  # loads the sources
    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        time.sleep(LOOK_S)  # the reader's own pace
        program.look()
    share = 100 * (time.process_time() - cpu) / (time.monotonic() - began)
    program.look(is_last=True)
    assert len(program.values()) > 5 * seconds, "it has read too little"
    return share


def measure(source: str, arguments: list[str], *, is_read: bool, seconds: float) -> tuple[float, float]:
    """Return the CPU of a writer and of its reader, in percent of a core."""
    with tempfile.TemporaryDirectory() as name:
        before = os.times()
        child = subprocess.Popen([sys.executable, __file__, "--write", source, "--folder", name, *arguments])
        share = reader(Path(name), seconds) if is_read else 0.0
        child.wait()
        after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return 100 * used / seconds, share


def main() -> int:
    args = bench.options(__doc__, seconds=20.0, rate=10.0, metrics=20, write="", folder="")
    if args.write:
        write(args.write, Path(args.folder), args.seconds, args.rate, args.metrics)
        return 0
    settings = ["--seconds", str(args.seconds), "--rate", str(args.rate), "--metrics", str(args.metrics)]
    print(f"{args.metrics} metrics, {args.rate:g} steps a second: percent of a core")
    print(f"{'source':<14}{'reader':>10}{'writer alone':>14}{'writer read':>13}")
    most = 0.0
    for source in ("stdout", "csv", "lines", "tensorboard", "wandb"):
        alone, _ = measure(source, settings, is_read=False, seconds=args.seconds)
        beside, share = measure(source, settings, is_read=True, seconds=args.seconds)
        most = max(most, share)
        print(f"{source:<14}{share:>10.2f}{alone:>14.2f}{beside:>13.2f}", flush=True)
    return 0 if most < MOST_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main())
