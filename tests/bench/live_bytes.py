"""Bytes that the app sends to a terminal of 120x40: at its start, with a live run at one update a second, and idle.

Targets: at most 400 B/s live, 20 B/s idle (`wandb leet` 1,061 live; Textual as it is 5,300).
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rig import Rig
from terminal import Terminal

from finetop.core.home import Home

SECONDS = 30


def rate(app: Terminal, seconds: float) -> float:
    """Bytes a second that the app sends over so long."""
    before, until = app.bytes, time.monotonic() + seconds
    while time.monotonic() < until:
        app.pump(0.2)
    return (app.bytes - before) / seconds


def main() -> None:
    rig = Rig(Home(Path(tempfile.mkdtemp()) / "home"))
    rig.start()
    rig.wait_ready()
    try:
        name = rig.submit("live-run", steps=1200, pause_s=1.0, start=600)
        rig.wait_state(name, "running")
        command = [sys.executable, "-m", "finetop.tui.main"]
        app = Terminal(command, rig.home.root, 120, 40)
        app.wait_text(name)
        print(f"{'start, Runs':<28}{app.bytes:>8} B")
        app.pump(3)
        print(f"{'live, Runs':<28}{rate(app, SECONDS):>8.0f} B/s")
        app.keys("\r")
        app.wait_text("grad norm")
        time.sleep(3)
        app.pump(1)
        print(f"{'live, Run, charts and log':<28}{rate(app, SECONDS):>8.0f} B/s")
        rig.kill_jobs()
        rate(app, 5)
        print(f"{'idle, Run':<28}{rate(app, SECONDS):>8.0f} B/s")
        app.keys("\x1b")
        rate(app, 3)
        print(f"{'idle, Runs':<28}{rate(app, SECONDS):>8.0f} B/s")
        app.close()
    finally:
        rig.stop_all()


if __name__ == "__main__":
    main()
