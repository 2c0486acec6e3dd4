"""A home with the real supervisor in a process of its own, on fake jobs: started, killed and asked by tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetop.core import protocol
from finetop.core.client import Client
from finetop.core.home import Home, prepare
from finetop.core.recipe.load import resolve_text
from finetop.core.run import word

PROGRAM = Path(__file__).parent / "core" / "supervisor" / "fake_supervisor.py"
RECIPE = "recipe: 1\nextends: lora\nname: fake\ncheck: {at_end: false}\ndata: {train: [{path: rows.jsonl}]}\n"


@dataclass
class Rig:
    """Starts, kills and asks one supervisor."""

    home: Home
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        prepare(self.home)
        with self.home.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "--home", str(self.home.root)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **environment},
            )
        self.processes.append(process)
        return process

    def wait_ready(self, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with Client(self.home, start=False) as client:
                    client.ask(protocol.Hello())
            except Exception:
                if time.monotonic() > deadline:
                    raise AssertionError(self.home.log.read_text()) from None
                time.sleep(0.02)
            else:
                return

    def ask(self, ask: protocol.Ask) -> Any:
        with Client(self.home, start=False) as client:
            return client.ask(ask)

    def submit(self, name: str = "fake", **plan: Any) -> str:
        loaded = resolve_text(RECIPE)
        wanted = {"at_end": plan.get("check", False), "every": plan.get("every")}
        check = {**loaded.resolved["check"], **wanted}
        recipe = {**loaded.resolved, "about": json.dumps(plan), "check": check}
        return str(self.ask(protocol.Submit(recipe, loaded.text, name)).name)

    def wait_state(self, name: str, *words: str, timeout_s: float = 30.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while True:
            row = self.ask(protocol.GetRun(name)).row
            if word(row.state) in words:
                return row
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} is {row.state}; {self.home.log.read_text()}")
            time.sleep(0.05)

    def job_folder(self, name: str) -> Path:
        detail = self.ask(protocol.GetRun(name))
        return self.home.root / detail.folder / detail.jobs[-1].folder

    def kill_jobs(self) -> None:
        for row in self.ask(protocol.Runs()).rows:
            if word(row.state) == "running":
                self.ask(protocol.Kill(row.name))

    def stop_all(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for record in self.home.runs.glob("*/jobs/*/keeper.json"):
            pid = json.loads(record.read_text())["pid"]
            for number in (signal.SIGUSR1, signal.SIGKILL):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    break
                time.sleep(0.05)
