"""What the app's first useful paint costs, beside a bare Textual app; and with 10,000 stored runs.

CPU seconds of the whole process until its first text is in the terminal, medians of paired runs. Targets: under 1.0 s
of CPU, and under 0.5 s more with 10,000 runs.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import bench

from finetop.core.client.connection import Client
from finetop.core.protocol.messages.session import Hello
from finetop.core.runtime.home import Home, prepare
from finetop.core.store.database import open_store

ROUNDS = 7
BARE = (
    "from textual.app import App\nfrom textual.widgets import Static\nclass Bare(App):\n"
    "    def compose(self): yield Static('first text')\nBare().run()\n"
)


def first_text(command: list[str], wanted: bytes, environment: dict[str, str]) -> tuple[float, float]:
    """Start a program in a terminal of 120x40. Returns (CPU seconds, wall seconds) until the text appears."""
    began = time.monotonic()
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(environment, TERM="xterm-256color", COLORTERM="truecolor")
        os.execvp(command[0], command)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen = b""
    while wanted not in seen:
        ready, _, _ = select.select([master], [], [], 20)
        if not ready:
            raise TimeoutError(f"{wanted!r} never came: {seen[-500:]!r}")
        data = os.read(master, 65536)
        os.write(master, b"\x1b[1;1R" * data.count(b"\x1b[6n"))
        seen += data
    wall = time.monotonic() - began
    cpu = bench.cpu_of(pid)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(master)
    return cpu, wall


def fill(home: Home, runs: int) -> None:
    """Store that many finished runs."""
    prepare(home)
    connection = open_store(home.database)
    bench.store_runs(connection, runs, name="'stored-run-' || i")
    connection.close()


def main() -> None:
    small, large = (Home(Path(tempfile.mkdtemp()) / "home") for _ in range(2))
    fill(small, 10)
    fill(large, 10_000)
    cases = {
        "bare Textual app": ([sys.executable, "-c", BARE], b"first text", {}),
        "finetop, 10 runs": (bench.APP, b"stored-run-9", {"FINETOP_HOME": str(small.root)}),
        "finetop, 10,000 runs": (bench.APP, b"stored-run-9999", {"FINETOP_HOME": str(large.root)}),
    }
    for home in (small, large):
        with Client(home) as client:
            client.ask(Hello())
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(ROUNDS):  # paired: every round runs each once
        for name, (command, wanted, environment) in cases.items():
            taken[name].append(first_text(command, wanted, environment))
    print(f"{'first useful paint, 120x40':<28}{'CPU s':>8}{'wall s':>8}   median of {ROUNDS}")
    for name, values in taken.items():
        cpu, wall = (statistics.median(value[i] for value in values) for i in (0, 1))
        print(f"{name:<28}{cpu:>8.2f}{wall:>8.2f}")
    for home in (small, large):
        subprocess.run(
            [*bench.APP, "--home", str(home.root), "supervisor", "stop"],
            check=True,
            stdout=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    main()
