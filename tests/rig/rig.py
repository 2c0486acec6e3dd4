"""A home with the real supervisor in a separate process, on fake jobs: started, killed and queried by tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fork_server import Forked, fork_server
from waiting import LIMIT_S, wait_until

from finetop.core.client.connection import Client
from finetop.core.errors import NoSupervisor
from finetop.core.protocol.messages.queue import Kill
from finetop.core.protocol.messages.runs import EventsSince, GetRun, Runs, Sql
from finetop.core.protocol.messages.session import Changes, Hello, Shutdown
from finetop.core.protocol.messages.submit import Submit, SubmitSweep, SweepRun
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import Queued, RunRow, word
from finetop.core.recipe.load import Loaded, resolve_text
from finetop.core.runtime.home import Home, prepare

Process = Forked | subprocess.Popen[bytes]
PROGRAM = Path(__file__).with_name("fake_supervisor.py")
REAL = Path(__file__).parents[2] / "core" / "supervisor" / "__main__.py"  # its jobs are real
MARK = "FINETOP_TEST_HOME"  # in the environment of all descendants of a rig's supervisor
# Failed runs stay failed: tests of the failure report need not wait for retries.
ALONE = "settings: 1\nretry: {times: 0}\nresume: {after_reboot: false, after_crash: false}\n"
SEVERAL = ALONE + "slots: {cpu_jobs: 8}\n"
IN_SLURM = "settings: 1\nslurm: {partition: main}\n"
RECIPE = "recipe: 1\nextends: lora\nname: fake\ncheck: {at_end: false}\ndata: {train: [{path: rows.jsonl}]}\n"
LONG: dict[str, Any] = {"steps": 5000, "waits_at": 1}  # a run that goes on until it is killed
BEHIND_ALL = 10**9  # no run has a later step


@cache
def load_recipe() -> Loaded:
    """Return the recipe of fake runs, resolved: once, because it takes 0.02 s."""
    return resolve_text(RECIPE)


def write_recipe(folder: Path, name: str, text: str = "", **plan: Any) -> Path:
    """Write RECIPE with its rows under another name, with more text and what a fake job of it does; return its file."""
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 5)
    about = f"about: {json.dumps(json.dumps(plan))}\n" if plan else ""
    file = folder / f"{name}.yaml"
    file.write_text(RECIPE.replace("name: fake", f"name: {name}") + about + text)
    return file


def counted(stored: list[int], side: list[int]) -> dict[str, int]:
    """Return how many steps a job wrote, and how many of them the store lacks, or has twice."""
    once = set(stored)
    return {"written": len(side), "lost": len(set(side) - once), "doubled": len(stored) - len(once)}


@dataclass
class Rig:
    """Starts, kills and queries one supervisor."""

    home: Home
    processes: list[Process] = field(default_factory=list)
    settings: str = ALONE  # of the home
    variables: dict[str, str] = field(default_factory=dict)  # environment variables of its supervisors
    program: Path = PROGRAM
    model: str = ""  # the runs' model; "": the recipe's
    side: Path | None = None  # where jobs record what they reported; None: in their own folders

    def start(self, **environment: str) -> Process:
        is_new = not self.home.root.exists()
        prepare(self.home)
        if is_new:  # making one anew takes twice as long
            from store_rows import empty_database  # there are tests without a database

            self.home.database.write_bytes(empty_database())
        if not (self.home.root / "settings.yaml").exists():
            (self.home.root / "settings.yaml").write_text(self.settings)
        command = [str(self.program), "--home", str(self.home.root)]
        side = {} if self.side is None else {"FINETOP_TEST_SIDE": str(self.side)}
        variables = {**os.environ, MARK: str(self.home.root), **self.variables, **side, **environment}
        self.home.log.touch()
        process: Process
        if "LD_PRELOAD" in variables:  # a library that is loaded first
            with self.home.log.open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, *command], stdout=log, stderr=log, start_new_session=True, env=variables
                )
        else:
            process = fork_server().start(command, self.home.log, variables)
        self.processes.append(process)
        return process

    def up(self, **environment: str) -> Process:
        """Start a supervisor, and wait until it answers."""
        process = self.start(**environment)
        self.wait_ready()
        return process

    def shut_down(self) -> None:
        """Shut the supervisor down, and wait for it: the last one started may be one that found it there and left."""
        self.ask(Shutdown())
        for process in self.processes:
            process.wait()

    def wait_ready(self) -> None:
        wait_until(self.answers, self.home.log.read_text)

    def answers(self) -> bool:
        """Return whether a supervisor answers."""
        try:
            self.ask(Hello())
        except Exception:
            return False
        return True

    def ask(self, ask: Ask) -> Any:
        with Client(self.home, start=False) as client:
            return client.ask(ask)

    def submit(self, name: str = "fake", *, budget: dict[str, Any] | None = None, **plan: Any) -> str:
        recipe, text = self.recipe(budget, plan)
        return str(self.ask(Submit(recipe, text, name)).name)

    def submit_to_dying(self, name: str = "fake", **plan: Any) -> str:
        """Queue a run although the supervisor may die before it answers; on return the run is queued."""
        with suppress(NoSupervisor):
            self.submit(name, **plan)
        return name

    def submit_sweep(
        self, name: str, count: int, *, budget: dict[str, Any] | None = None, **plan: Any
    ) -> list[str]:
        """Queue a sweep of runs that differ in their seeds; return their names."""
        recipe, text = self.recipe(budget, plan)
        runs = [
            SweepRun(f"{name}-{seed}", {**recipe, "train": {**recipe["train"], "seed": seed}})
            for seed in range(count)
        ]
        return [reply.name for reply in self.ask(SubmitSweep(name, runs, text)).runs]

    def recipe(self, budget: dict[str, Any] | None, plan: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Return the recipe of a fake run, and the text that it was resolved from."""
        loaded = load_recipe()
        wanted = {"at_end": plan.get("check", False), "every": plan.get("every")}
        check = {**loaded.resolved["check"], **wanted}
        recipe = {**loaded.resolved, "about": json.dumps(plan), "check": check}
        recipe["budget"] = {**recipe["budget"], **(budget or {})}
        if self.model:
            recipe["model"] = {**recipe["model"], "id": self.model}
        return recipe, loaded.text

    def wait_state(self, name: str, *words: str, limit_s: float = LIMIT_S) -> Any:
        """Wait until a run is in one of these states, and return its row."""
        return self.wait_row(name, lambda row: word(row.state) in words, limit_s)

    def wait_because(self, name: str, words: str) -> None:
        """Wait until a run is queued for a reason that has these words."""
        self.wait_row(name, lambda row: isinstance(row.state, Queued) and words in row.state.because)

    def wait_step(self, name: str, step: int = 1) -> int:
        """Wait until a run has reached a step, and return its step."""
        return int(self.wait_row(name, lambda row: row.step >= step).step)

    def wait_row(self, name: str, is_so: Callable[[RunRow], object], limit_s: float = LIMIT_S) -> Any:
        """Wait until a run's row is as wanted, and return it: it takes 9 ms of CPU time, the whole run 22."""

        def row_then() -> Any:
            row = self.ask(EventsSince(name, BEHIND_ALL)).row
            return row if is_so(row) else None

        return self.wait_changes(row_then, lambda: self.about(name), limit_s)

    def wait_job(self, name: str, verb: str) -> Any:
        """Wait until the newest job of a verb has ended, and return it."""

        def newest_then() -> Any:
            jobs = [job for job in self.ask(GetRun(name)).jobs if job.verb == verb]
            return jobs[-1] if jobs and not jobs[-1].is_under_way else None

        return self.wait_changes(newest_then, lambda: f"its {verb} ended; {self.about(name)}")

    def wait_changes(self, look: Callable[[], Any], what: Callable[[], str], limit_s: float = LIMIT_S) -> Any:
        """Wait for a condition, testing it again whenever the store has changed."""
        revision = self.ask(Changes(0, 0.0)).revision

        def look_then() -> Any:
            nonlocal revision
            if not (seen := look()):
                revision = self.ask(Changes(revision, 0.5)).revision
            return seen

        return wait_until(look_then, what, limit_s)

    def about(self, name: str) -> str:
        """Describe the state of a run, with its supervisor's log."""
        detail = self.ask(GetRun(name))
        return f"{name} is {detail.row.state}, its jobs {detail.jobs}; {self.home.log.read_text()}"

    def let_go(self, name: str, verb: str) -> None:
        """Release a run's jobs of a verb that its plan holds."""
        (self.home.root / self.ask(GetRun(name)).folder / f"go-{verb}").touch()

    def job_folder(self, name: str) -> Path:
        detail = self.ask(GetRun(name))
        return self.home.root / detail.folder / detail.jobs[-1].folder

    def process_of(self, name: str) -> int:
        """Return a running job's own process, from its keeper's record."""
        self.wait_state(name, "running")
        file = self.job_folder(name) / "keeper.json"
        return int(json.loads(wait_until(lambda: file.exists() and file.read_text()))["job_pid"])

    def grandchild_of(self, name: str) -> int:
        """Return the process that a running job has started, as its plan says."""
        file = self.job_folder(name) / "grandchild.txt"
        return int(wait_until(lambda: file.exists() and file.read_text(), "its grandchild"))

    def restart(self, **environment: str) -> Process:
        """Kill the supervisor, and start another."""
        self.kill()
        return self.up(**environment)

    def kill(self) -> None:
        self.processes[-1].kill()
        self.processes[-1].wait()

    def keeper(self, name: str) -> dict[str, Any]:
        """Return the record of the keeper of a run's newest job."""
        return dict(json.loads((self.job_folder(name) / "keeper.json").read_text()))

    def descendants(self) -> list[str]:
        """Return the living processes that descend from this home's supervisors, whoever their parent is now."""
        mark, living = f"{MARK}={self.home.root}".encode(), []
        own = {str(process.pid) for process in self.processes}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if entry.name not in own and mark in (entry / "environ").read_bytes().split(b"\0"):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    living.append(f"{entry.name} {command}")
            except OSError:
                continue
        return living

    def orphans(self) -> list[str]:
        """Wait until no process of a job is left after all have ended: a keeper's last moments do not count.

        Returns those that remain, by name.
        """
        try:
            wait_until(lambda: not self.descendants())
        except AssertionError:
            return self.descendants()
        return []

    def told_and_written(self, name: str) -> tuple[list[int], list[int]]:
        """Return the steps of a run's loss in the store, one per row, and those that its job wrote itself."""
        folder = self.job_folder(name)
        file = folder / "side.txt" if self.side is None else self.side / f"{folder.name}.txt"
        side = [int(step) for step in file.read_text().split()] if file.exists() else []
        query = "SELECT m.step FROM metrics m JOIN runs r ON r.id = m.run_id"
        query += f" WHERE m.key = 'loss' AND r.name = '{name}'"
        stored: list[int] = []
        for first in range(0, max(side, default=0) + 50_001, 50_000):
            rows = self.ask(Sql(f"{query} AND m.step >= {first} AND m.step < {first + 50_000}", 100_000)).rows
            stored += [step for (step,) in rows]
        return stored, side

    def kill_jobs(self) -> None:
        for row in self.ask(Runs()).rows:
            if word(row.state) == "running":
                self.ask(Kill(row.name))

    def stop_all(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        while left := self.descendants():  # a keeper that has just started is in no record yet
            for pid in (int(line.split()[0]) for line in left):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)  # between two looks
