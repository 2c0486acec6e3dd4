"""Fault 1: supervisor, keepers, trainers, commands and the app die at random while people make requests.

FINETOP_TEST_KILLS_S says for how long (a minute without it), FINETOP_TEST_KILLS_SEED which kills. At the end everything
is compared: the answers, how each run ended and what was done to it, steps with the jobs' side files both ways,
processes, and a database rebuilt row for row.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from dumping import differences, dump
from rig import SEVERAL, Rig
from terminal import Terminal
from waiting import LIMIT_S, wait_until

from finetop.core.errors import EnvironmentTrouble, FinetopError
from finetop.core.protocol import events, runs as data
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Hold, Kill, Pause, Release, Retry, Stop
from finetop.core.protocol.messages.runs import GetRun, Runs, Sql
from finetop.core.protocol.messages.session import Shutdown
from finetop.core.protocol.messages.submit import Resume
from finetop.core.protocol.messages.trash import Remove, Restore
from finetop.core.protocol.request import Ask
from finetop.core.runtime import job_folder, processes
from finetop.core.supervisor.rebuild import rebuild

DURATION_S = float(os.environ.get("FINETOP_TEST_KILLS_S", "30"))
SEED = int(os.environ.get("FINETOP_TEST_KILLS_SEED", "1"))
MOST_LIVE = 6
LIVE = ("running", "queued")
OVER = ("finished", "stopped", "failed", "lost")


@dataclass
class World:
    """What was done to a home, and what may have become of its runs as a result."""

    rig: Rig
    moments: random.Random
    done: Counter[str] = field(default_factory=Counter)
    submitted: set[str] = field(default_factory=set)  # and answered
    stopped: set[str] = field(default_factory=set)  # or requested to
    killed: set[tuple[str, str]] = field(
        default_factory=set
    )  # (run, "pid" for a keeper, "job_pid" for its job)
    removed: set[str] = field(default_factory=set)  # for sure
    perhaps_removed: set[str] = field(default_factory=set)
    number: int = 0
    killer: Thread | None = None  # of a supervisor that is about to die, and of the next

    def ask(self, ask: Ask) -> object | None:
        """Send a request; return the answer, or None if it was refused or nobody answered."""
        try:
            return self.rig.ask(ask)
        except EnvironmentTrouble:
            self.done["unanswered"] += 1
        except FinetopError:
            self.done["refused"] += 1
        return None

    def newest(self) -> list[data.RunRow]:
        answer = self.ask(Runs(sort="newest", limit=20))
        return [] if answer is None else answer.rows

    def some_run(self, *words: str) -> str | None:
        found = [row.name for row in self.newest() if data.word(row.state) in words]
        return self.moments.choice(found) if found else None

    def wait_supervisor(self) -> None:
        """Wait until the process to be killed is dead, and another answers."""
        if self.killer is not None:
            self.killer.join()
        self.rig.wait_ready()


def all_rows(rig: Rig) -> list[data.RunRow]:
    rows: list[data.RunRow] = []
    while True:
        page = rig.ask(Runs(sort="newest", offset=len(rows), limit=200))
        rows += page.rows
        if len(rows) >= page.total or not page.rows:
            return rows


def submit(world: World) -> None:
    if sum(data.word(row.state) in LIVE for row in world.newest()) >= MOST_LIVE:
        return
    world.number += 1
    name, steps = f"run-{world.number}", world.moments.randrange(50, 600)
    plan = {
        "steps": steps,
        "saved": list(range(20, steps, 40)),
        "pause_s": world.moments.uniform(0.003, 0.03),
        "grandchild": world.moments.random() < 0.3,
        "check": world.moments.random() < 0.2,
    }
    try:
        assert world.rig.submit(name, **plan) == name
    except EnvironmentTrouble:
        world.done["unanswered"] += 1
    else:
        world.submitted.add(name)


def ask_of_a_run(kind: type, *of: str) -> Callable[[World], None]:
    def act(world: World) -> None:
        name = world.some_run(*of)
        if name is not None:
            if kind in (Stop, Kill, Pause):
                world.stopped.add(name)
            world.ask(kind(name))

    return act


def hold_all(world: World) -> None:
    """Hold the queue, or release it."""
    world.ask(Hold() if world.moments.random() < 0.3 else Release())


def remove(world: World) -> None:
    name = world.some_run(*OVER)
    if name is not None and world.moments.random() < 0.3:
        world.perhaps_removed.add(name)
        if world.ask(Remove([name])) is not None:
            world.removed.add(name)


def restore(world: World) -> None:
    if world.removed:
        name = world.moments.choice(sorted(world.removed))
        world.removed.discard(name)  # whatever the answer, it may be back
        world.ask(Restore(name))


def kill_supervisor(world: World) -> None:
    """In a while, when another request may be under way."""
    world.wait_supervisor()
    before_s = world.moments.uniform(0.0, 1.0)
    after_s = world.moments.choice([0.0, 0.0, world.moments.uniform(0.0, 2.0)])

    def kill() -> None:
        time.sleep(before_s)  # at any moment of another request
        world.rig.processes[-1].kill()
        world.rig.processes[-1].wait()
        time.sleep(after_s)  # as long as nobody restarts it
        world.rig.start()

    world.killer = Thread(target=kill)
    world.killer.start()


def live_jobs(world: World) -> Iterator[tuple[Path, dict[str, int]]]:
    """The folder of each job whose keeper lives, and its record."""
    for file in sorted(world.rig.home.runs.glob("*/jobs/*/keeper.json")):
        with contextlib.suppress(OSError, ValueError):
            facts = json.loads(file.read_bytes())
            if processes.start_time(facts["pid"]) == facts["start"]:
                yield file.parent, facts


def kill_process(which: str) -> Callable[[World], None]:
    """Kill the keeper of a live job (`pid`), or its job (`job_pid`)."""

    def act(world: World) -> None:
        found = list(live_jobs(world))
        if found:
            folder, facts = world.moments.choice(found)
            if folder.name.endswith("-train"):
                world.killed.add((job_folder.run_folder_of(folder).name.split("-", 1)[1], which))
            with contextlib.suppress(ProcessLookupError):
                os.kill(facts[which], signal.SIGKILL)

    return act


def kill_command(world: World) -> None:
    """A command, killed while it starts, sends a request or reads."""
    world.wait_supervisor()  # otherwise it would start a supervisor of its own, on real trainers
    name = world.some_run(*LIVE, *OVER) or "nobody"
    words = world.moments.choice([["ls"], ["tail", name], ["show", name], ["stop", "no-such-run"]])
    command = [sys.executable, "-m", "finetop.tui.main", "--home", str(world.rig.home.root), *words]
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(world.moments.uniform(0.0, 0.6))  # at any moment of its start
    client.kill()
    client.wait()


def kill_app(world: World) -> None:
    """The app, killed while it starts, draws, or gets keys."""
    world.wait_supervisor()
    app = Terminal([sys.executable, "-m", "finetop.tui.main"], world.rig.home.root)
    app.pump(world.moments.uniform(0.1, 1.5))
    app.keys("j\r")
    app.pump(world.moments.uniform(0.0, 0.5))
    os.kill(app.pid, signal.SIGKILL)
    app.close()


ACTS = {  # name -> (weight, action)
    "submit": (10, submit),
    "kill supervisor": (6, kill_supervisor),
    "kill trainer": (4, kill_process("job_pid")),
    "kill keeper": (3, kill_process("pid")),
    "kill command": (1, kill_command),
    "kill app": (1, kill_app),
    "stop": (2, ask_of_a_run(Stop, *LIVE)),
    "kill": (2, ask_of_a_run(Kill, *LIVE)),
    "pause": (2, ask_of_a_run(Pause, *LIVE)),
    "release": (3, ask_of_a_run(Release, "queued")),
    "hold": (2, hold_all),
    "resume": (4, ask_of_a_run(Resume, "failed", "lost", "stopped")),
    "retry": (1, ask_of_a_run(Retry, "failed", "lost")),
    "check": (1, ask_of_a_run(Check, "finished")),
    "rm": (3, remove),
    "trash --restore": (1, restore),
}


def live(world: World, duration_s: float) -> None:
    until = time.monotonic() + duration_s
    names, weights = list(ACTS), [often for often, _ in ACTS.values()]
    while time.monotonic() < until:
        name, unanswered = world.moments.choices(names, weights)[0], world.done["unanswered"]
        ACTS[name][1](world)
        world.done[name] += 1
        if world.done["unanswered"] > unanswered and world.moments.random() < 0.8:
            world.wait_supervisor()
        time.sleep(world.moments.uniform(0.0, 0.3))  # acts are not evenly spaced
    world.wait_supervisor()


def settle(world: World) -> None:
    """Let all live and waiting jobs end."""
    world.rig.restart()
    world.ask(Release())

    def left() -> list[data.RunRow]:
        return [row for row in all_rows(world.rig) if row.checking or data.word(row.state) in LIVE]

    def is_settled() -> bool:
        for row in left():
            if isinstance(row.state, data.Queued) and row.state.held:
                world.rig.ask(Release(row.name))
        return not left()

    wait_until(is_settled, lambda: f"{left()}", 3 * LIMIT_S)


@dataclass
class Witness:
    """What the files of a run's training jobs contain, to compare the store with."""

    noted: list[int] = field(
        default_factory=list
    )  # steps, without those that were discarded by resuming from an earlier one
    written: int = 0
    exit: dict[str, int | None] | None = None  # the keeper's record of the last one that started
    said: str = ""  # its last event
    began: int = 0


def witness_of(run_folder: Path, detail: data.RunDetail) -> Witness:
    witness = Witness()
    for job in detail.jobs:
        folder = run_folder / job.folder
        if job.verb != "train" or not (folder / "keeper.json").exists():
            continue
        witness.began, witness.exit, witness.said = witness.began + 1, None, ""
        with contextlib.suppress(FileNotFoundError):
            witness.exit = json.loads((folder / "exit.json").read_bytes())
        with contextlib.suppress(FileNotFoundError):
            for line in (folder / "events.jsonl").read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    continue  # killed while it wrote it
                event = events.decode(line).e
                if isinstance(event, events.Resumed):
                    witness.noted = [step for step in witness.noted if step <= event.step]
                elif isinstance(event, events.Ended):
                    witness.said = event.status
        with contextlib.suppress(FileNotFoundError):
            side = [int(step) for step in (folder / "side.txt").read_text().split()]
            witness.noted, witness.written = witness.noted + side, witness.written + len(side)
    return witness


def may_be(world: World, name: str, seen: Witness) -> set[str]:
    """Return how a run may have ended, from its files and what was done to it."""
    stopped = {"stopped"} if name in world.stopped else set()
    if seen.began == 0:
        return stopped  # it waited
    if seen.said == "finished" and (seen.exit is None or seen.exit["code"] == 0):
        return {"finished"}  # without a record, only its keeper was killed, after the job's last event
    if seen.exit is None:
        return {"lost"} | stopped if (name, "pid") in world.killed else set()
    if seen.exit["signal"] == signal.SIGKILL:
        return stopped | ({"failed"} if (name, "job_pid") in world.killed else set())
    return stopped


def compare(world: World) -> dict[str, list[str]]:
    """List everything that is wrong."""
    results: dict[str, list[str]] = {"lost": [], "doubled": [], "wrong": []}
    there = {row.name: row for row in all_rows(world.rig)}
    results["wrong"] += [f"{name} was removed, and is there" for name in world.removed & there.keys()]
    for name in world.submitted - world.perhaps_removed - there.keys():
        results["lost"].append(f"{name} was queued, and is not there")
    for name, row in there.items():
        detail = world.rig.ask(GetRun(name))
        seen = witness_of(world.rig.home.root / detail.folder, detail)
        state = data.word(row.state)
        world.done[f"runs {state}"] += 1
        world.done["records"] += seen.written
        if state not in may_be(world, name, seen):
            results["wrong"].append(f"{name}: {row.state}, not {may_be(world, name, seen)}: {seen}")
        query = f"SELECT step FROM metrics WHERE key = 'loss' AND run_id = {row.id}"
        told = Counter(step for (step,) in world.rig.ask(Sql(query, 100_000)).rows)
        noted = Counter(seen.noted)
        results["lost"] += [f"{name}: step {step}" for step in noted - told]
        results["doubled"] += [f"{name}: step {step}" for step, times in told.items() if times > 1]
        # killed between its line and its side note, a job has reported one step more
        if (told - noted).total() > seen.began:
            results["wrong"].append(f"{name}: steps that nobody noted {sorted(told - noted)}")
    return results


def test_whatever_dies_whenever_nothing_is_lost_doubled_wrong_or_left_behind(cold_rig, survived, monkeypatch):
    monkeypatch.setenv("FINETOP_TEST_GRACE_S", "6")  # keepers die, too
    cold_rig.settings = SEVERAL
    cold_rig.up()
    world = World(cold_rig, random.Random(SEED))
    live(world, DURATION_S)
    settle(world)
    results = compare(world)
    cold_rig.ask(Shutdown())
    cold_rig.processes[-1].wait()
    orphans = cold_rig.orphans()
    before = dump(cold_rig.home.database)
    results["lost"] += rebuild.rebuild(cold_rig.home).left_out
    results["wrong"] += differences(before, dump(cold_rig.home.database))
    print(
        dict(world.done),
        *(f"{kind}: {problem}" for kind, all_ in results.items() for problem in all_),
        *orphans,
        sep="\n",
    )
    kills = sum(times for name, times in world.done.items() if name.startswith("kill "))
    survived("1", f"random kills for {DURATION_S:.0f} s, {len(world.submitted)} runs", repeats=kills,
             written=world.done["records"], lost=len(results["lost"]), doubled=len(results["doubled"]),
             wrong=len(results["wrong"]), orphans=len(orphans))  # fmt: skip
