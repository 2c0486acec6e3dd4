"""Bytes that the app sends to a terminal of 120x40: at its start, with a live run at one update per second, and idle.

    python tests/bench/live_bytes.py [--seconds 30]

In 24-bit colour, in 16 colours (a terminal that reports no more), and in 24-bit colour by Textual's own driver.
Targets: live at most 400 B/s in 24-bit colour, 250 in 16; idle 20 (`wandb leet` 1,061 live; unmodified Textual 5,300).
Last, the CPU that our driver takes to read and to draw a frame in which every row is new.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import bench
from rig import Rig
from terminal import Terminal

from finetop.core.runtime.home import Home
from finetop.tui.terminal.cells import apply_frame, blank_cells
from finetop.tui.terminal.screen_diff import Pen, difference

SIZE = (120, 40)
STOCK = (
    "import sys; from finetop.tui.terminal import driver; from textual.drivers.linux_driver import LinuxDriver;"
    "driver.DifferenceDriver = LinuxDriver; from finetop.tui.main import main; sys.exit(main())"
)
DARK = {"COLORTERM": "truecolor", "FINETOP_THEME": "dark"}
LOOKS = {
    "24-bit": (bench.APP, DARK),
    "16 colours": (bench.APP, {"TERM": "xterm", "COLORTERM": "", "FINETOP_THEME": "", "COLORFGBG": ""}),
    "Textual's": ([sys.executable, "-c", STOCK], DARK),
}


def rate(app: Terminal, seconds: float) -> float:
    """Return the bytes per second that the app sends during this time."""
    before, until = app.bytes, time.monotonic() + seconds
    while time.monotonic() < until:
        app.pump(0.2)
    return (app.bytes - before) / seconds


def watch(rig: Rig, look: str, seconds: float) -> None:
    """Print the bytes of the start, a live run and the idle app, in one look."""
    name = rig.submit("live-run", steps=1200, pause_s=1.0, start=600)
    rig.wait_state(name, "running")
    command, environment = LOOKS[look]
    app = Terminal(command, rig.home.root, *SIZE, **environment)
    app.wait_text(name)

    def told(what: str, number: float, unit: str) -> None:
        print(f"{look:<12}{what:<28}{number:>8,.0f} {unit}", flush=True)

    told("start, Runs", app.bytes, "B")
    app.pump(3)
    told("live, Runs", rate(app, seconds), "B/s")
    app.keys("\r")
    app.wait_text("grad norm")
    app.pump(4)
    told("live, Run, charts and log", rate(app, seconds), "B/s")
    rig.kill_jobs()
    rate(app, 5)
    told("idle, Run", rate(app, seconds), "B/s")
    app.keys("\x1b")
    rate(app, 3)
    told("idle, Runs", rate(app, seconds), "B/s")
    app.close()


def milliseconds_of_a_frame(frames: int = 30) -> tuple[float, float]:
    """Return the CPU milliseconds to read and to draw a full frame in which every row is new."""
    texts = [frame_of(random.Random(seed)) for seed in range(frames)]
    screens = [blank_cells(*SIZE)]
    start = time.process_time()
    for text in texts:
        screens.append(apply_frame(screens[-1], text))
    read = time.process_time()
    pen = Pen()
    for old, new in pairwise(screens):
        _, pen = difference(old, new, pen)
    return (read - start) * 1e3 / frames, (time.process_time() - read) * 1e3 / frames


def frame_of(chance: random.Random) -> str:
    """Return a page of eight coloured words per row, as a change of screen draws."""
    word = "\x1b[38;2;{};9;9m{:<15}\x1b[0m"
    rows = [
        "".join(word.format(chance.randrange(4), chance.randrange(10**9)) for _ in range(8))
        for _ in range(SIZE[1])
    ]
    return "\n".join(f"\x1b[{y};1H{row}" for y, row in enumerate(rows, 1)) + "\x1b[1;1H"


def main() -> None:
    args = bench.options(__doc__, seconds=30.0)
    for look in LOOKS:
        with tempfile.TemporaryDirectory() as folder:
            rig = Rig(Home(Path(folder) / "home"))
            rig.up()
            try:
                watch(rig, look, args.seconds)
            finally:
                rig.stop_all()
    read, draw = milliseconds_of_a_frame()
    print(f"full {SIZE[0]}x{SIZE[1]} frame: {read:.1f} ms to read it and {draw:.1f} ms to draw it (CPU)")


if __name__ == "__main__":
    main()
