"""A newcomer's way in the real app on the real small model, over ssh: what was forgotten, and a better model.

Launch, watch, lose the link, come back, triage the regression, apply a remedy, export it. Every key is counted.
"""

import os
import re
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import far
import pytest
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

    def __call__(self, app: Any, key: str, wanted: str, timeout: float = 30.0) -> None:
        self.pressed.append(key)
        app.key(key)
        app.settle(
            0.4, 5.0
        )  # a person looks before the next key; an escape is one only if nothing follows at once
        app.wait_text(wanted, timeout=timeout, regex=True)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(bool(far.missing()), reason=far.missing() or "all is here")
@pytest.mark.skipif(not MODEL, reason=f"FINETOP_TEST_MODEL names no folder with {NAME}")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the rig's own open log
def test_from_nothing_to_a_better_model_over_a_link_that_drops(tmp_path: Path) -> None:
    tools, press = far.load_rig(), Keys()
    home = Home(tmp_path / "home")
    prepare(home)
    shutil.copytree(MODEL, home.root / "models" / NAME)
    command = f"FINETOP_HOME={shlex.quote(str(home.root))} {shlex.join(APP)}"
    written = tmp_path / "fixed"
    try:
        with tools.Link(delay_ms=75) as link, tools.SshServer(link) as server:
            with tools.Tui(server.command(command), cols=80, rows=24) as app:
                app.wait_text("No runs yet", timeout=60)
                press(app, "enter", "Train and check two demo runs")
                press(app, "y", "2 runs queued")
                press(app, "enter", "metrics")
                app.wait_text(r"running [\d,]+", timeout=300, regex=True)
                link.down()
                time.sleep(20)
            link.up()
            server.drop()
            began = time.monotonic()
            with tools.Tui(server.command(command), cols=80, rows=24) as app:
                app.wait_text("demo-full-hot", timeout=60)
                app.wait_text(r"demo-full-hot.*REGRESSED", timeout=TRAINED_S, regex=True)
                print(f"back, and both were checked after {time.monotonic() - began:.0f} s")
                press(app, "2", "demo-full-hot.*NEW")
                press(app, "enter", "── question")
                press(app, "escape", r"\d+ lost")
                press(app, "escape", "demo-full-hot.*NEW")
                press(app, "r", "Remedies for demo-full-hot")
                press(app, "R", "Try the")
                began = time.monotonic()
                press(app, "a", "tried|scoring|trying|waits")
                app.wait_text(r"★", timeout=TRIED_S, regex=True)
                print(f"a remedy is confirmed after {time.monotonic() - began:.0f} s")
                print(app.text())
                best = re.search(r"★ (\w) ", app.text())
                assert best is not None
                for letter in range(ord("a"), ord(best[1])):
                    press(app, "j", f"▸.*{chr(letter + 1)} ")
                press(app, "E", "to|where|folder")
                app.key("ctrl+u")
                app.type(str(written))
                press(app, "enter", "export|writ|queued")
            wait_until((written / "model.safetensors").exists, "it is written", WRITTEN_S)
        with Client(home, start=False) as client:
            runs = client.ask(Runs()).rows
        assert {row.name for row in runs} == {"demo-lora", "demo-full-hot"}
        print(f"{len(press.pressed)} keys: {' '.join(press.pressed)}, and the folder's name")
    finally:
        with Client(home, start=False) as client:
            client.ask(Shutdown())
