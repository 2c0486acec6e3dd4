"""From a trainer's write() to the cell on the screen, with 64 runs that each report a step per second.

    python tests/bench/event_to_screen.py [--runs 64] [--seconds 30]

In a real pseudo-terminal of 120x40, read through an emulator: the list of runs (all rows in view), one run's screen,
and `finetop tail` of one run. A step counts as shown when it or a later one is. Targets: under 1 s at p95, the
supervisor under 200 MB.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import bench
from rig import Rig
from terminal import Terminal

PLANNED = 9999


class Seen:
    """When each step of each run first appeared on the screen."""

    def __init__(self) -> None:
        self.at: dict[str, list[tuple[float, int]]] = {}

    def look(self, name: str, step: int) -> None:
        steps = self.at.setdefault(name, [])
        if not steps or step > steps[-1][1]:
            steps.append((time.time(), step))

    def delays(self, noted: dict[str, dict[int, float]], begin: float, end: float) -> list[float]:
        """Return the seconds from report to display, for each step reported between two moments."""
        seconds = []
        for name, shown in self.at.items():
            for step, reported_at in noted[name].items():
                if begin <= reported_at <= end:
                    first = next((at for at, newest in shown if newest >= step), None)
                    seconds.append(float("inf") if first is None else first - reported_at)
        return sorted(seconds)


def print_delays(what: str, delays: list[float], parts: dict[str, float]) -> None:
    p50, p95 = (delays[int((len(delays) - 1) * share)] for share in (0.5, 0.95))
    cpu = ", ".join(f"{name} {share:.1%}" for name, share in parts.items())
    print(
        f"{what:<34}{len(delays):>6} steps  p50 {p50:.2f} s  p95 {p95:.2f} s  max {delays[-1]:.2f} s   CPU: {cpu};"
        f" {bench.load()}",
        flush=True,
    )


def noted(rig: Rig) -> dict[str, dict[int, float]]:
    """Return when each job reported each step, by its own record."""
    by_run: dict[str, dict[int, float]] = {}
    for file in rig.home.runs.glob("*/jobs/*/noted.txt"):
        lines = [line.split() for line in file.read_text().splitlines()]
        name = file.parents[2].name.partition("-")[2]
        by_run[name] = {int(line[0]): float(line[1]) for line in lines if len(line) == 2}
    return by_run


def watch(rig: Rig, supervisor: int, app: Terminal, pattern: str, name: str, seconds: float) -> None:
    """Read the screen continuously; `pattern` finds (name, step) or (step) of one run in a row."""
    seen, finder = Seen(), re.compile(pattern)
    begin, before = time.time(), (bench.cpu_of(supervisor), bench.cpu_of(app.pid))
    while time.time() < begin + seconds + 5:
        app.pump(0.02)
        for row in app.screen.display:
            if match := finder.search(row):
                run, step = match.groups() if len(match.groups()) == 2 else (name, match[1])
                seen.look(run, int(step.replace(",", "")))
    spent = seconds + 5
    parts = {
        "supervisor": (bench.cpu_of(supervisor) - before[0]) / spent,
        "app": (bench.cpu_of(app.pid) - before[1]) / spent,
    }
    delays = seen.delays(noted(rig), begin + 2, begin + seconds)
    print_delays(f"{'the list' if name == '' else 'one run'}, {len(seen.at)} of its rows", delays, parts)


def watch_tail(rig: Rig, supervisor: int, name: str, seconds: float) -> None:
    tail = subprocess.Popen(
        [*bench.APP, "tail", name, "--json", "-n", "1"],
        stdout=subprocess.PIPE, env={**os.environ, "FINETOP_HOME": str(rig.home.root)},
    )  # fmt: skip
    assert tail.stdout is not None
    seen, begin, before = Seen(), time.time(), bench.cpu_of(supervisor)
    while time.time() < begin + seconds + 3:
        seen.look(name, json.loads(tail.stdout.readline())["step"]["step"])
    parts = {
        "supervisor": (bench.cpu_of(supervisor) - before) / (seconds + 3),
        "tail": bench.cpu_of(tail.pid) / (seconds + 3),
    }
    tail.terminate()
    tail.wait()
    tail.stdout.close()
    print_delays("finetop tail", seen.delays(noted(rig), begin + 2, begin + seconds), parts)


def main() -> int:
    args = bench.options(__doc__, runs=64, seconds=30.0)
    with bench.writers(args.runs, steps=PLANNED, pause_s=1.0, noted=True) as writers:
        rig, supervisor = writers.rig, writers.process.pid
        writers.go()
        time.sleep(5)  # what its start costs is not measured
        print(f"{args.runs} runs x 1 step/s; supervisor {bench.memory_mb(supervisor):.0f} MB", flush=True)
        watch_tail(rig, supervisor, writers.names[0], args.seconds)
        app = Terminal(bench.APP, rig.home.root, 120, 40)
        app.wait_text("writer")
        watch(rig, supervisor, app, rf"(writer-\d\d).*?([\d,]+)/{PLANNED:,}", "", args.seconds)
        shown = next(name for name in writers.names if name in app.text())
        app.keys("\r")
        app.wait_text("grad norm")
        watch(rig, supervisor, app, r"running ([\d,]+)", shown, args.seconds)
        app.close()
        print(f"afterwards: supervisor {bench.memory_mb(supervisor):.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
