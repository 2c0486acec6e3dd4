"""What the app's first useful paint costs, beside a bare Textual app; and with 10,000 stored runs.

CPU seconds of the whole process until its first text is in the terminal, medians of paired runs. Targets: under 1.0 s
of CPU, and under 0.5 s more with 10,000 runs.

    python tests/bench/app_start.py [--rounds 7]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import bench
from terminal import Terminal

from finetop.core.client.connection import Client
from finetop.core.protocol.messages.session import Hello, Shutdown
from finetop.core.runtime.home import Home, prepare
from finetop.core.store.database import open_store

BARE = (
    "from textual.app import App\nfrom textual.widgets import Static\nclass Bare(App):\n"
    "    def compose(self): yield Static('first text')\nBare().run()\n"
)


def first_text(command: list[str], wanted: str, home: Path) -> tuple[float, float]:
    """Start a program in a terminal of 120x40. Returns (CPU seconds, wall seconds) until the text appears."""
    began = time.monotonic()
    terminal = Terminal(command, home, 120, 40)
    while wanted.encode() not in terminal.sent:
        assert time.monotonic() < began + 20, f"{wanted!r} never came:\n{terminal.text()}"
        terminal.pump(0.005)
    wall, cpu = time.monotonic() - began, bench.cpu_of(terminal.pid)
    terminal.close()
    return cpu, wall


def fill(home: Home, runs: int) -> None:
    """Store that many finished runs."""
    prepare(home)
    connection = open_store(home.database)
    bench.store_runs(connection, runs, name="'stored-run-' || i")
    connection.close()


def main() -> None:
    args = bench.options(__doc__, rounds=7)
    small, large = (Home(bench.folder_of_its_own() / "home") for _ in range(2))
    fill(small, 10)
    fill(large, 10_000)
    cases = {
        "bare Textual app": ([sys.executable, "-c", BARE], "first text", small),
        "finetop, 10 runs": (bench.APP, "stored-run-9", small),
        "finetop, 10,000 runs": (bench.APP, "stored-run-9999", large),
    }
    for home in (small, large):
        with Client(home) as client:
            client.ask(Hello())
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(args.rounds):  # paired: every round runs each once
        for name, (command, wanted, home) in cases.items():
            taken[name].append(first_text(command, wanted, home.root))
    print(f"{'first useful paint, 120x40':<28}{'CPU s':>8}{'wall s':>8}   median of {args.rounds}")
    for name, values in taken.items():
        cpu, wall = bench.medians(values)
        print(f"{name:<28}{cpu:>8.2f}{wall:>8.2f}")
    for home in (small, large):
        with Client(home) as client:
            client.ask(Shutdown())


if __name__ == "__main__":
    main()
