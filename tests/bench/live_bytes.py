"""Bytes that the app sends to a terminal of 120x40: at its start, with a live run at one update per second, and idle.

In 24-bit colour, then in 16 colours (a terminal that reports no more). Targets: live at most 400 B/s in 24-bit colour,
250 in 16; idle 20 (`wandb leet` 1,061 live; unmodified Textual 5,300).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import bench
from rig import Rig
from terminal import Terminal

from finetop.core.runtime.home import Home

SECONDS = 30
LOOKS = {
    "24-bit": {"COLORTERM": "truecolor", "FINETOP_THEME": "dark"},
    "16 colours": {"TERM": "xterm", "COLORTERM": "", "FINETOP_THEME": "", "COLORFGBG": ""},
}


def rate(app: Terminal, seconds: float) -> float:
    """Return the bytes per second that the app sends during this time."""
    before, until = app.bytes, time.monotonic() + seconds
    while time.monotonic() < until:
        app.pump(0.2)
    return (app.bytes - before) / seconds


def main() -> None:
    for look, environment in LOOKS.items():
        rig = Rig(Home(Path(tempfile.mkdtemp()) / "home"))
        rig.up()
        try:
            watch(rig, look, environment)
        finally:
            rig.stop_all()


def watch(rig: Rig, look: str, environment: dict[str, str]) -> None:
    """Print the bytes of the start, a live run and the idle app, in one look."""
    name = rig.submit("live-run", steps=1200, pause_s=1.0, start=600)
    rig.wait_state(name, "running")
    app = Terminal(bench.APP, rig.home.root, 120, 40, **environment)
    app.wait_text(name)

    def told(what: str, number: float, unit: str) -> None:
        print(f"{look:<12}{what:<28}{number:>8,.0f} {unit}", flush=True)

    told("start, Runs", app.bytes, "B")
    app.pump(3)
    told("live, Runs", rate(app, SECONDS), "B/s")
    app.keys("\r")
    app.wait_text("grad norm")
    time.sleep(3)
    app.pump(1)
    told("live, Run, charts and log", rate(app, SECONDS), "B/s")
    rig.kill_jobs()
    rate(app, 5)
    told("idle, Run", rate(app, SECONDS), "B/s")
    app.keys("\x1b")
    rate(app, 3)
    told("idle, Runs", rate(app, SECONDS), "B/s")
    app.close()


if __name__ == "__main__":
    main()
