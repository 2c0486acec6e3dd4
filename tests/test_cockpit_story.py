"""A newcomer's way in the real app on the real small model, over ssh: what was forgotten, and a better model.

Launch, watch, lose the link, come back, triage the regression, apply a remedy, export it. Every key is counted.
"""

import os
import re
import shlex
import shutil
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from link import Link, SshServer, why_not
from terminal import Terminal
from waiting import wait_until

from finetop.core.client.connection import Client
from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.messages.session import Shutdown
from finetop.core.runtime.home import Home, prepare

NAME = "smollm2-135m-instruct"
MODEL = os.environ.get("FINETOP_TEST_MODEL", "")
TRAINED_S, TRIED_S, WRITTEN_S = 1200, 2400, 600
APP = [sys.executable, "-m", "finetop.tui.main"]


class Keys:
    """Presses keys in the app, and counts them."""

    def __init__(self) -> None:
        self.pressed: list[str] = []

    def __call__(self, app: Terminal, key: str, wanted: str) -> None:
        self.pressed.append(key)
        app.keys({"enter": "\r", "escape": "\x1b"}.get(key, key))
        # A person looks before the next key; an escape is one only if nothing follows at once.
        app.settle(0.4, 5.0)
        app.wait_match(wanted)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.skipif(not MODEL, reason=f"FINETOP_TEST_MODEL names no folder with {NAME}")
def test_from_nothing_to_a_better_model_over_a_link_that_drops(tmp_path: Path) -> None:
    press = Keys()
    home = Home(tmp_path / "home")
    prepare(home)
    shutil.copytree(MODEL, home.root / "models" / NAME)
    command = f"FINETOP_HOME={shlex.quote(str(home.root))} {shlex.join(APP)}"
    written = tmp_path / "fixed"
    try:
        with Link(delay_ms=75) as link, SshServer(link) as server:
            with closing(Terminal(server.command(command), home.root)) as app:
                app.wait_text("No runs yet")
                press(app, "enter", "Train and check two demo runs")
                press(app, "y", "2 runs queued")
                press(app, "enter", "metrics")
                app.wait_match(r"running [\d,]+", 300)
                link.down()
                time.sleep(20)  # the user looks for the cable
            link.up()
            server.drop()
            began = time.monotonic()
            with closing(Terminal(server.command(command), home.root)) as app:
                app.wait_text("demo-full-hot")
                app.wait_match(r"demo-full-hot.*REGRESSED", TRAINED_S)
                print(f"back, and both were checked after {time.monotonic() - began:.0f} s")
                press(app, "2", "demo-full-hot.*NEW")
                press(app, "enter", "── question")
                press(app, "escape", r"\d+ lost")
                press(app, "escape", "demo-full-hot.*NEW")
                press(app, "r", "Remedies for demo-full-hot")
                press(app, "R", "Try the")
                began = time.monotonic()
                press(app, "a", "tried|scoring|trying|waits")
                app.wait_text("★", TRIED_S)
                print(f"a remedy is confirmed after {time.monotonic() - began:.0f} s")
                print(app.text())
                best = re.search(r"★ (\w) ", app.text())
                assert best is not None
                for letter in range(ord("a"), ord(best[1])):
                    press(app, "j", f"▸.*{chr(letter + 1)} ")
                press(app, "E", "to|where|folder")
                app.keys(f"\x15{written}")  # ctrl+u empties the field
                press(app, "enter", "export|writ|queued")
            wait_until((written / "model.safetensors").exists, "it is written", WRITTEN_S)
        with Client(home, start=False) as client:
            runs = client.ask(Runs()).rows
        assert {row.name for row in runs} == {"demo-lora", "demo-full-hot"}
        print(f"{len(press.pressed)} keys: {' '.join(press.pressed)}, and the folder's name")
    finally:
        with Client(home, start=False) as client:
            client.ask(Shutdown())
