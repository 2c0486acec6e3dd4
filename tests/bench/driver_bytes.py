"""Bytes to the terminal of a live 120x40 app under the stock driver and ours; CPU of a full frame.

`python tests/bench/driver_bytes.py [--seconds 15]` runs the same app (four charts and a ten-line log, one update per
second, 24-bit colour) under each driver in its own pseudo-terminal.
"""

from __future__ import annotations

import argparse
import fcntl
import math
import os
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from itertools import pairwise

import bench
from rich.text import Text
from textual.app import App, ComposeResult
from textual.containers import Grid
from textual.widgets import RichLog, Static

from finetop.tui.terminal.cells import apply_frame, blank_cells
from finetop.tui.terminal.driver import DifferenceDriver
from finetop.tui.terminal.screen_diff import Pen, difference

COLUMNS, ROWS = 120, 40
START_S = 3.0
COLOURS = ("#7ec77e", "#5cc8d8", "#e5b567", "#ff6b6b")


class LiveApp(App[None]):
    """Four braille charts and a log that change once a second."""

    CSS = """
    Grid { grid-size: 2 2; height: 28; }
    Static { height: 14; border: solid #8088a0; }
    RichLog { height: 10; }
    """

    def compose(self) -> ComposeResult:
        """Place the charts above the log."""
        with Grid():
            for index in range(4):
                yield Static(id=f"chart{index}")
        yield RichLog(id="log", max_lines=200)

    def on_mount(self) -> None:
        """Start with a full log and update once a second."""
        self.step = 0
        for _ in range(12):
            self.tick()
        self.set_interval(1, self.tick)

    def tick(self) -> None:
        """Add one step to every chart and to the log."""
        self.step += 1
        for index, colour in enumerate(COLOURS):
            self.query_one(f"#chart{index}", Static).update(Text(_chart(index, self.step), style=colour))
        loss = 2 + math.exp(-self.step / 40)
        clock = f"14:{self.step // 60:02}:{self.step % 60:02}"
        line = f"{clock} step {self.step:5} loss {loss:.4f} lr 2.0e-4 1,{self.step:03} tokens/s"
        self.query_one("#log", RichLog).write(line)


def _chart(index: int, step: int, width: int = 56, height: int = 11) -> str:
    """Draw a falling, noisy curve that grows by a dot every four steps."""
    noise = random.Random(index)
    dots = [[0] * width for _ in range(height)]
    columns = min(width * 2, 40 + step // 4)
    for x in range(columns):
        value = math.exp(-x / 40) * 0.8 + noise.random() * 0.15
        y = min(height * 4 - 1, int((1 - value) * height * 4))
        dots[y // 4][x // 2] |= ((0x1, 0x2, 0x4, 0x40), (0x8, 0x10, 0x20, 0x80))[x % 2][y % 4]
    rows = ["".join(chr(0x2800 + cell) if cell else " " for cell in row) for row in dots]
    return "\n".join([*rows, f"loss {2 + math.exp(-step / 40) + index:.4f}"])


def bytes_of(driver: str, seconds: float) -> tuple[int, float]:
    """Run the app under a driver; return the bytes of its start and the bytes per second after it."""
    terminal, child = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    variables = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")
    }
    variables |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen(
        [sys.executable, __file__, "--app", driver], stdin=child, stdout=child, stderr=child, env=variables
    )
    os.close(child)
    counts = [_count(terminal, START_S), _count(terminal, seconds)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.close(terminal)
    return counts[0], counts[1] / seconds


def _count(terminal: int, seconds: float) -> int:
    end, count = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            count += len(os.read(terminal, 65536))
    return count


def milliseconds_of_a_frame(frames: int = 30) -> tuple[float, float]:
    """Return the CPU milliseconds to read and to draw a full frame in which every row is new."""
    texts = [_frame(random.Random(seed)) for seed in range(frames)]
    screens = [blank_cells(COLUMNS, ROWS)]
    start = time.process_time()
    for text in texts:
        screens.append(apply_frame(screens[-1], text))
    read = time.process_time()
    pen = Pen()
    for old, new in pairwise(screens):
        _, pen = difference(old, new, pen)
    return (read - start) * 1e3 / frames, (time.process_time() - read) * 1e3 / frames


def _frame(chance: random.Random) -> str:
    """Return a page of eight coloured words per row, as a change of screen draws."""
    rows = []
    for y in range(ROWS):
        words = (
            f"\x1b[38;2;{chance.randrange(4)};9;9m{chance.randrange(10**9):<15}\x1b[0m" for _ in range(8)
        )
        rows.append(f"\x1b[{y + 1};1H{''.join(words)}")
    return "\n".join(rows) + "\x1b[1;1H"


def main() -> None:
    arguments = bench.options(__doc__, seconds=15.0, app=({"choices": ("stock", "ours")}, argparse.SUPPRESS))
    if arguments.app:
        LiveApp(driver_class=DifferenceDriver if arguments.app == "ours" else None).run()
        return
    for driver in ("stock", "ours"):
        start, rate = bytes_of(driver, arguments.seconds)
        print(f"{driver:<6} start {start:6,} bytes, live {rate:6,.0f} bytes/s")
    read, draw = milliseconds_of_a_frame()
    print(f"full {COLUMNS}x{ROWS} frame: {read:.1f} ms to read it and {draw:.1f} ms to draw it (CPU)")


if __name__ == "__main__":
    main()
