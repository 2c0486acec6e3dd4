"""Viewing one long run, beside W&B's `leet`: 100,000 steps of 10 metrics, in a terminal of 120x40.

    python tests/bench/leet.py [--steps 100000] [--rounds 5] [--wandb COMMAND]

wandb writes its run in its own process (offline), finetop's is in a store. Every round runs each once: seconds from the
command until the first chart is drawn and until all steps are in it, CPU seconds of all its processes until then, their
resident memory. Both open the run directly (`finetop open RUN`); the supervisor, started earlier by another finetop,
answers meanwhile: its CPU seconds are counted, its memory is listed separately. Then in the open app: from Enter on the
list to the chart with all steps. Targets: .8 s, .1 s in the open app, .8 CPU seconds, 70 MB. Exit 0 if all are
reached, 1 if not.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import bench
from terminal import Terminal

from finetop.core.client.connection import Client
from finetop.core.protocol.messages.session import Hello, Shutdown
from finetop.core.runtime.home import Home, prepare
from finetop.core.store.database import open_store, transaction

SIZE = (120, 40)
METRICS = ("loss", "grad_norm", "learning_rate", "tokens_per_s", *(f"metric_{letter}" for letter in "abcdef"))
BRAILLE = tuple(chr(code) for code in range(0x2801, 0x2900))
WRITE = """
import math, random, sys, wandb
steps, folder, *metrics = int(sys.argv[1]), *sys.argv[2:]
noise = random.Random(1)
with wandb.init(project="bench", dir=folder, mode="offline", settings=wandb.Settings(silent=True)) as run:
    for step in range(1, steps + 1):
        values = {key: noise.random() for key in metrics}
        run.log({**values, "loss": 1 + 2 * math.exp(-4 * step / steps) + noise.gauss(0, 0.1)}, step=step)
"""


class LookCost(NamedTuple):
    """The cost of one look at the run."""

    first_s: float
    all_s: float
    cpu_s: float
    memory_mb: float


def fill(home: Home, steps: int) -> None:
    """Store a finished run with that many steps of each metric."""
    prepare(home)
    connection = open_store(home.database)
    last = "{" + ", ".join(f'"{key}": 0.5' for key in METRICS) + "}"
    with transaction(connection):
        bench.store_runs(connection, 1, name="'long-run'", steps=str(steps), last=f"'{last}'")
        connection.execute(
            "INSERT INTO metrics (run_id, key, step, time, value) SELECT 1, key, step, step,"
            " CASE key WHEN 'loss' THEN 1 + 2 * exp(-4 * step / ?) + random() / 5 ELSE random() END"
            " FROM (SELECT unnest(?) AS key), range(1, ? + 1) t(step) ORDER BY key, step",
            [steps, list(METRICS), steps],
        )
    connection.close()


def session_of(leader: int) -> list[int]:
    """Return all processes of a terminal's session."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(entry.name)) == leader:
                pids.append(int(entry.name))
        except ProcessLookupError:
            continue
    return pids


def memory_of(pids: list[int]) -> float:
    """Return the resident memory of processes in MB."""
    total = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Rss:"))
    return total / 1000


def has_chart(terminal: Terminal) -> bool:
    text = terminal.text()
    return "loss" in text and any(mark in text for mark in BRAILLE)


def has_axis_to(terminal: Terminal, steps: int) -> bool:
    """Return whether finetop's x axis ends there: a chart is drawn with all steps at once."""
    return f"{steps:,}" in terminal.text() or f"{steps // 1000}k" in terminal.text()


def wait(terminal: Terminal, is_there: object, began: float) -> float:
    """Return the seconds since `began` until something is on the screen."""
    assert callable(is_there)
    while not is_there(terminal):
        assert time.monotonic() - began < 120, terminal.text()
        terminal.pump(0.01)
    return time.monotonic() - began


def time_look(command: list[str], home: Path, all_of_it: object, beside: list[int]) -> LookCost:
    """Start a program, wait for its chart with all steps, and end it. `beside` are processes that serve it."""
    before, began = bench.cpu_of(*beside, children=True), time.monotonic()
    terminal = Terminal(command, home, *SIZE)
    first = wait(terminal, has_chart, began)
    whole = wait(terminal, lambda one: has_chart(one) and all_of_it(one), began)  # type: ignore[operator]
    pids = session_of(terminal.pid)
    cost = LookCost(first, whole, bench.cpu_of(*pids, *beside, children=True) - before, memory_of(pids))
    os.killpg(terminal.pid, signal.SIGKILL)
    terminal.wait_end()
    return cost


def enter(home: Path, steps: int) -> list[float]:
    """Return the seconds from Enter on the list to the chart with all steps, five times in one open app."""
    terminal = Terminal(bench.APP, home, *SIZE)
    terminal.wait_text("long-run")
    terminal.pump(1.0)
    times = []
    for _ in range(6):
        began = time.monotonic()
        terminal.keys("\r")
        times.append(wait(terminal, lambda one: has_chart(one) and has_axis_to(one, steps), began))
        terminal.pump(0.5)
        terminal.keys("\x1b")
        while has_chart(terminal):
            terminal.pump(0.05)
        terminal.pump(0.5)
    os.killpg(terminal.pid, signal.SIGKILL)
    terminal.wait_end()
    return times


def main() -> int:
    args = bench.options(__doc__, steps=100_000, rounds=5, wandb=str(Path(sys.executable).with_name("wandb")))
    if shutil.which(args.wandb) is None:
        bench.skip(f"needs wandb; there is no {args.wandb}")
    folder = bench.folder_of_its_own()
    os.environ["HOME"] = str(folder)  # leet keeps its settings there
    home = Home(folder / "home")
    fill(home, args.steps)
    python = str(Path(args.wandb).with_name("python"))
    subprocess.run([python, "-c", WRITE, str(args.steps), str(folder), *METRICS], check=True)
    (written,) = (folder / "wandb").glob("offline-run-*")
    with Client(home) as client:
        supervisor = client.ask(Hello()).pid
    looks: dict[str, list[LookCost]] = {"finetop open": [], "wandb leet": []}
    ours, theirs = [*bench.APP, "open", "long-run"], [args.wandb, "leet", str(written)]
    for _ in range(args.rounds):
        ends = lambda one: has_axis_to(one, args.steps)  # noqa: E731
        looks["finetop open"].append(time_look(ours, home.root, ends, [supervisor]))
        ends = lambda one: f"_step          {args.steps}" in one.text()  # noqa: E731
        looks["wandb leet"].append(time_look(theirs, folder, ends, []))
    print(f"{args.steps:,} steps of {len(METRICS)} metrics, {SIZE[0]}x{SIZE[1]}, medians of {args.rounds}")
    print(f"{'':<14}{'first chart s':>14}{'all steps s':>13}{'CPU s':>8}{'MB':>7}")
    for name, taken in looks.items():
        first, whole, cpu, memory = bench.medians(taken)
        print(f"{name:<14}{first:>14.2f}{whole:>13.2f}{cpu:>8.2f}{memory:>7.0f}")
    opened = enter(home.root, args.steps)
    inside = statistics.median(opened[1:])
    print(
        f"in the open app, Enter to all steps: {inside:.3f} s (the first time {opened[0]:.3f});"
        f" the supervisor holds {memory_of([supervisor]):.0f} MB"
    )
    mine = LookCost(*bench.medians(looks["finetop open"]))
    reached = mine.first_s < 0.8 and inside < 0.1 and mine.cpu_s < 0.8 and mine.memory_mb < 70
    with Client(home) as client:
        client.ask(Shutdown())
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
