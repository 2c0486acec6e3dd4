"""Fault 5: the connection of an app on the far side of ssh breaks, in every possible way.

The app exits once its side can know, the run goes on, and a returning user sees all of it.
"""

import os
import random
import shlex
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from link import Link, SshServer, why_not
from rig import counted
from terminal import Terminal
from waiting import wait_until

from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun

ROUNDS = 7
# The far side learns of a cable that was pulled by asking: sshd's own keep-alive, two times two seconds after the app
# has noticed that its output does not arrive, and stops drawing.
KEEP_ALIVE = ("ClientAliveInterval 2", "ClientAliveCountMax 1")


def apps_of(home: Path) -> list[int]:
    """Find the apps that run on a home, by their arguments."""
    results = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"finetop.tui.main" in words and os.fsencode(home) in words:
                results.append(int(entry.name))
        except OSError:
            continue
    return results


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_each_way_to_lose_the_connection_costs_the_app_alone(cold_rig, survived):
    rig, moments, wrong = cold_rig, random.Random(5), []
    rig.up()
    name = rig.submit("long-one", steps=100_000, pause_s=0.05)
    rig.wait_state(name, "running")
    command = f"PYTHONPATH={os.environ.get('PYTHONPATH', '')} " + shlex.join(
        [sys.executable, "-m", "finetop.tui.main", "--home", str(rig.home.root)]
    )
    shown = 0
    with Link(delay_ms=20) as link, SshServer(link, extra=KEEP_ALIVE) as server:
        for number in range(3 * ROUNDS):
            with closing(Terminal(server.command(command), rig.home.root)) as app:
                app.wait_text("long-one")
                app.keys("\r")
                app.wait_match(r"running [\d,]+")
                app.settle(0.2, moments.uniform(0.2, 1.5))
                before = rig.ask(GetRun(name)).row.step
                (server.drop, link.down, app.hang_up)[number % 3]()
                began = time.monotonic()
                wait_until(lambda: not apps_of(rig.home.root), "the app is gone")
                print(f"{number}: gone after {time.monotonic() - began:.1f} s")
                link.up()
            wait_until(lambda: rig.ask(GetRun(name)).row.step > before + 20, "the run goes on")  # noqa: B023
            shown += 1
        with closing(Terminal(server.command(command), rig.home.root, 120, 40)) as app:  # and back again
            app.wait_text("long-one")
            rig.ask(Stop(name))
            last = rig.wait_state(name, "stopped").step
            app.keys("\r")
            app.wait_text(f"{last:,}")
            app.keys("q")
    reported, side = rig.told_and_written(name)
    wrong += ["started twice"] if rig.ask(GetRun(name)).jobs[0].attempt != 1 else []
    print(*wrong, sep="\n")
    survived("5", "ssh: session killed, cable pulled, terminal gone", repeats=shown, **counted(reported, side),
             wrong=len(wrong), orphans=len(rig.orphans()) + len(apps_of(rig.home.root)))  # fmt: skip
