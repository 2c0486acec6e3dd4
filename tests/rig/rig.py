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

from finetop.core.client.connection import Client
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import GetRun, Runs, Sql
from finetop.core.protocol.messages.session import Hello
from finetop.core.protocol.messages.submit import Submit
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import word
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.home import Home, prepare

PROGRAM = Path(__file__).with_name("fake_supervisor.py")
MARK = "FINETOP_TEST_HOME"  # in the environment of all that descends from a supervisor of a rig
# What failed stays so: tests of how that is told need not wait for all tries.
ALONE = "settings: 1\nretry: {times: 0}\nresume: {after_reboot: false, after_crash: false}\n"
SEVERAL = ALONE + "slots: {cpu_jobs: 8}\n"
RECIPE = "recipe: 1\nextends: lora\nname: fake\ncheck: {at_end: false}\ndata: {train: [{path: rows.jsonl}]}\n"


@dataclass
class Rig:
    """Starts, kills and asks one supervisor."""

    home: Home
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    settings: str = ALONE  # of the home
    side: Path | None = None  # where jobs note what they told; None: in their own folders

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        prepare(self.home)
        if not (self.home.root / "settings.yaml").exists():
            (self.home.root / "settings.yaml").write_text(self.settings)
        with self.home.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "--home", str(self.home.root)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, MARK: str(self.home.root), **self.side_setting(), **environment},
            )
        self.processes.append(process)
        return process

    def side_setting(self) -> dict[str, str]:
        return {} if self.side is None else {"FINETOP_TEST_SIDE": str(self.side)}

    def wait_ready(self, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with Client(self.home, start=False) as client:
                    client.ask(Hello())
            except Exception:
                if time.monotonic() > deadline:
                    raise AssertionError(self.home.log.read_text()) from None
                time.sleep(0.02)
            else:
                return

    def ask(self, ask: Ask) -> Any:
        with Client(self.home, start=False) as client:
            return client.ask(ask)

    def submit(self, name: str = "fake", *, budget: dict[str, Any] | None = None, **plan: Any) -> str:
        loaded = resolve_text(RECIPE)
        wanted = {"at_end": plan.get("check", False), "every": plan.get("every")}
        if not plan.get("general", True):
            wanted["general"] = None
        check = {**loaded.resolved["check"], **wanted}
        recipe = {**loaded.resolved, "about": json.dumps(plan), "check": check}
        recipe["budget"] = {**recipe["budget"], **(budget or {})}
        return str(self.ask(Submit(recipe, loaded.text, name)).name)

    def wait_state(self, name: str, *words: str, timeout_s: float = 30.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while True:
            row = self.ask(GetRun(name)).row
            if word(row.state) in words:
                return row
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} is {row.state}; {self.home.log.read_text()}")
            time.sleep(0.05)

    def wait_job(self, name: str, verb: str, timeout_s: float = 30.0) -> Any:
        """Wait until the newest job of a verb has ended, and give it."""
        deadline = time.monotonic() + timeout_s
        while True:
            jobs = [job for job in self.ask(GetRun(name)).jobs if job.verb == verb]
            if jobs and not jobs[-1].is_under_way:
                return jobs[-1]
            if time.monotonic() > deadline:
                raise AssertionError(f"the {verb} of {name}: {jobs}; {self.home.log.read_text()}")
            time.sleep(0.05)

    def job_folder(self, name: str) -> Path:
        detail = self.ask(GetRun(name))
        return self.home.root / detail.folder / detail.jobs[-1].folder

    def restart(self, **environment: str) -> subprocess.Popen[bytes]:
        """Kill the supervisor, and start another."""
        self.processes[-1].kill()
        self.processes[-1].wait()
        process = self.start(**environment)
        self.wait_ready()
        return process

    def descendants(self) -> list[str]:
        """Name the living processes that descend from this home's supervisors, whoever their parent is now."""
        mark, found = f"{MARK}={self.home.root}".encode(), []
        own = {str(process.pid) for process in self.processes}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if entry.name not in own and mark in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found.append(f"{entry.name} {words}")
            except OSError:
                continue
        return found

    def orphans(self, timeout_s: float = 20.0) -> list[str]:
        """Name what is still there of jobs, when all have ended: a keeper's last moments do not count."""
        deadline = time.monotonic() + timeout_s
        while (found := self.descendants()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def told_and_written(self, name: str) -> tuple[list[int], list[int]]:
        """Give the steps that the store tells of a run's loss, one a row, and those that its job wrote on its own."""
        folder = self.job_folder(name)
        file = folder / "side.txt" if self.side is None else self.side / f"{folder.name}.txt"
        side = [int(step) for step in file.read_text().split()] if file.exists() else []
        query = "SELECT m.step FROM metrics m JOIN runs r ON r.id = m.run_id"
        query += f" WHERE m.key = 'loss' AND r.name = '{name}'"
        told: list[int] = []
        for first in range(0, max(side, default=0) + 50_001, 50_000):
            rows = self.ask(Sql(f"{query} AND m.step >= {first} AND m.step < {first + 50_000}", 100_000)).rows
            told += [step for (step,) in rows]
        return told, side

    def kill_jobs(self) -> None:
        for row in self.ask(Runs()).rows:
            if word(row.state) == "running":
                self.ask(Kill(row.name))

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
