"""A supervisor's day in a few minutes: 500 runs by a simulated launcher, with a clock that is advanced.

    python tests/rig/soak.py HOME [--hours 24] [--runs 500] [--seed 1]

The supervisor, its store and the answers to two apps are the real ones, in this process; jobs are lines written into
their event files, of which one in ten dies, fails or falls silent. Every two hours another supervisor takes over.
Prints a line of JSON for each simulated hour, and a last one with what was written and what was stored.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec
import psutil
from fake_job import judge
from rig import RECIPE

from finetop.core.protocol import events, wire
from finetop.core.protocol.messages.queue import Queue, Stop
from finetop.core.protocol.messages.runs import Curves, GetRun, Runs
from finetop.core.protocol.messages.session import Changes
from finetop.core.protocol.messages.submit import Submit
from finetop.core.protocol.messages.trash import Remove
from finetop.core.protocol.patch_cache import SentAnswers
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home, prepare
from finetop.core.store.database import open_store
from finetop.core.supervisor.endings import liveness
from finetop.core.supervisor.gpus import require_usable
from finetop.core.supervisor.launchers.launcher import Attempt, Exit, JobStatus, Signal, Trace, Usage, Warm
from finetop.core.supervisor.requests import submit
from finetop.core.supervisor.serve import reply
from finetop.core.supervisor.state import Supervisor
from finetop.core.supervisor.tick import beat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finetop.core.protocol.messages.runs import ProcessRow
    from finetop.core.protocol.request import Ask

BEAT_S = 30.0  # simulated time per beat
STEPS = 16  # of a run, one per beat
RESTART_S = 7200.0
LAST_BEATS = 500
SETTINGS = "settings: 1\nslots: {cpu_jobs: 4}\nretry: {times: 1, wait_s: 30}\n"
ENDS = ("finished",) * 17 + ("killed", "failed", "silent")


class Clock:
    """The clocks of the process, advanced by hand."""

    def __init__(self) -> None:
        self._ahead = 0.0
        real, steady = time.time, time.monotonic
        time.time = lambda: real() + self._ahead
        time.time_ns = lambda: int(time.time() * 1e9)
        time.monotonic = lambda: steady() + self._ahead

    def set_on(self, seconds: float) -> None:
        self._ahead += seconds


@dataclass
class Pretended:
    """A running job: how it will end, and how far it is."""

    log: EventLog
    verb: str
    end: str
    step: int = 0
    asked: str = ""


@dataclass
class PretendingLauncher:
    """A Launcher whose jobs are written by `work`, a few lines per beat."""

    draw: random.Random
    live: dict[int, Pretended] = field(default_factory=dict)
    exits: dict[tuple[int, int], Exit] = field(default_factory=dict)
    written: Counter[str] = field(default_factory=Counter)

    def nodes(self) -> tuple[()]:
        return ()

    def submit(
        self, attempt: Attempt, environment: dict[str, str], *, may_be_warm: bool, batch: object = None
    ) -> bool:
        spec = json.loads((attempt.folder / "job.json").read_bytes())
        log = EventLog(attempt.folder / "events.jsonl")
        self.live[attempt.job] = Pretended(log, spec["verb"], self.draw.choice(ENDS))
        self.exits.pop((attempt.job, attempt.number), None)
        log.write(events.Started(1, attempt.number, 1, "cpu", "float32", {"fake": "1"}))
        if spec["verb"] == "train":
            log.write(events.Planned(STEPS, 1.0, 10, 0, 100, 1, 1))
        return True

    def work(self, attempts: Mapping[int, Attempt]) -> None:
        """Let each job do its work for one beat."""
        for job, attempt in attempts.items():
            if (pretended := self.live.get(job)) is not None and self._step(pretended):
                pretended.log.close()
                code, signal = {"killed": (None, 9), "failed": (1, None)}.get(pretended.end, (0, None))
                self.exits[job, attempt.number] = Exit(code, signal, time.time(), 1000, ran_s=500.0)
                del self.live[job]

    def _step(self, job: Pretended) -> bool:
        """Take a step. Returns whether it was the last."""
        job.step += 1
        if job.asked:
            job.log.write(events.Ended("stopped", "asked to stop", kind="asked"))
            job.end = "stopped"
            return True
        if job.verb == "check":
            if job.step > 2:
                judge(job.log, self.draw.choice((0, 0, 40)), STEPS, {})
                job.log.write(events.Ended("finished"))
                job.end = "finished"
            return job.step > 2
        if job.end == "silent" and job.step > STEPS // 2:
            return False  # until somebody stops it
        values = {"loss": 1.0 / job.step, "grad_norm": self.draw.random(), "tokens_per_s": 4000.0}
        job.log.write(events.metrics(job.step, values))
        job.log.write(events.Phase("training", job.step, STEPS, "steps", (STEPS - job.step) * BEAT_S))
        self.written["steps"] += 1
        if job.step == STEPS // 3 and self.draw.random() < 0.2:
            job.log.write(events.Alarm("spike", job.step, "the loss rose"))
            self.written["alarms"] += 1
        if job.end in ("killed", "failed") and job.step == STEPS // 2:
            if job.end == "failed":
                job.log.write(events.Ended("failed", "bad data", "Mend row 17.", 2))
            return True
        if job.step == STEPS:
            job.log.write(events.Checkpoint(STEPS, f"checkpoints/step-{STEPS:06d}", 10, "full"))
            job.log.write(events.Ended("finished"))
        return job.step == STEPS

    def list(self, attempts: Sequence[Attempt]) -> dict[int, JobStatus]:
        return {
            attempt.job: JobStatus(
                self.exits.get((attempt.job, attempt.number)),
                attempt.job in self.live,
                (attempt.folder / "events.jsonl").stat().st_size if attempt.folder.exists() else 0,
            )
            for attempt in attempts
        }

    def is_alive(self, folder: Path) -> bool:
        return False

    def revoke(self, attempt: Attempt) -> bool:
        return True

    def signal(self, attempt: Attempt, what: Signal) -> bool:
        job = self.live.get(attempt.job)
        if job is not None and what != "stacks":
            job.asked = what
        return job is not None

    def cancel(self, attempt: Attempt, waited_s: float) -> None: ...

    def logs(self, folder: Path) -> Path:
        return folder / "log.txt"

    def trace(self, attempt: Attempt) -> Trace:
        return "here"

    def clear(self, attempt: Attempt) -> int:
        return (attempt.folder / "events.jsonl").stat().st_size

    def usage(self, attempts: Sequence[Attempt]) -> dict[int, Usage]:
        return {attempt.job: Usage(1.0, 0, False, False) for attempt in attempts if attempt.job in self.live}

    def processes(self, attempts: Sequence[Attempt]) -> Sequence[ProcessRow]:
        return []

    def owners(self, attempts: Sequence[Attempt], pids: set[int]) -> dict[int, int]:
        return {}

    def tend(self) -> bool:
        return False

    def warm_up(self, environment: dict[str, str]) -> None: ...

    def warm(self) -> Warm:
        return Warm(False)

    def let_go(self) -> bool:
        return False


class App:
    """An attached app: sends its screens' requests, over the patches of a slow link."""

    def __init__(self) -> None:
        self._told, self._number, self._held = SentAnswers(), 0, {}
        self.took_ms: list[float] = []

    async def ask(self, supervisor: Supervisor, ask: Ask) -> bytes:
        self._number += 1
        line = wire.envelope(self._number, ask, self._held.get(type(ask), 0))
        began = time.process_time()
        answer = await reply(supervisor, line, self._told)
        self.took_ms.append(1000 * (time.process_time() - began))
        self._held[type(ask)] = self._number
        assert b'"error"' not in answer[:60], answer[:300]
        return answer

    async def look(self, supervisor: Supervisor) -> None:
        """Request what the list, a run's charts and the queue show."""
        page = msgspec.json.decode(await self.ask(supervisor, Runs(sort="newest")))
        await self.ask(supervisor, Changes(0, 0.0))
        await self.ask(supervisor, Queue())
        row = page.get("answer", {}).get("rows", [None])[0]
        if row is not None:
            await self.ask(supervisor, GetRun(str(row["id"])))
            await self.ask(supervisor, Curves(str(row["id"]), ["loss"], 60, STEPS))


async def soak(root: Path, hours: float, runs: int, seed: int) -> None:
    clock = Clock()
    home, launcher = Home(root), PretendingLauncher(random.Random(seed + 1))
    prepare(home)
    (root / "settings.yaml").write_text(SETTINGS)
    supervisor = begin(home, launcher)
    loaded = resolve_text(RECIPE)
    recipe = {**loaded.resolved, "check": {**loaded.resolved["check"], "at_end": True}}
    for number in range(runs):
        await submit.submit(supervisor, Submit(recipe, loaded.text, f"run-{number}"))
    apps = [App(), App()]
    beats = int(hours * 3600 / BEAT_S)
    for number in range(1, beats + 1):
        clock.set_on(BEAT_S)
        await beat(supervisor)
        launcher.work({job.id: supervisor.attempt(job) for job in supervisor.live})
        if number % 3 == 0:
            for app in apps:
                await app.look(supervisor)
        for job in supervisor.live:
            silent = launcher.live.get(job.id)
            if silent is not None and silent.end == "silent" and silent.step > 2 * STEPS:
                await apps[0].ask(supervisor, Stop(str(job.run_id)))
        if number * BEAT_S % RESTART_S == 0:
            gone = supervisor.connection.execute(
                "SELECT id FROM runs WHERE state->>'$.type' = 'finished' ORDER BY random() LIMIT 1"
            ).fetchone()
            if gone is not None:
                launcher.written -= stored(supervisor, gone[0])
                await apps[1].ask(supervisor, Remove([str(gone[0])]))
        if number * BEAT_S % 3600 == 0:
            print(json.dumps(sample(number * BEAT_S / 3600, supervisor, apps)), flush=True)
        if number * BEAT_S % RESTART_S == 0 and number < beats:
            supervisor.connection.close()
            supervisor = begin(home, launcher)
    for _ in range(LAST_BEATS):  # unfinished work ends, and the last events are ingested
        clock.set_on(BEAT_S)
        await beat(supervisor)
        if not (supervisor.live or supervisor.queued):
            break
        launcher.work({job.id: supervisor.attempt(job) for job in supervisor.live})
        for pretended in launcher.live.values():
            pretended.asked = "stop" if pretended.end == "silent" else pretended.asked
    states = supervisor.connection.execute(
        "SELECT state->>'$.type', count(*) FROM runs GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    print(json.dumps({"written": launcher.written, "stored": stored(supervisor), "states": states}))


def stored(supervisor: Supervisor, run_id: int | None = None) -> Counter[str]:
    """Count the store's rows for all runs, or for one."""
    queries = {
        "steps": "SELECT count(*) FROM metrics WHERE key = 'loss' AND (?1 IS NULL OR run_id = ?1)",
        "alarms": "SELECT count(*) FROM alarms WHERE ?1 IS NULL OR run_id = ?1",
    }
    return Counter(
        {
            name: supervisor.connection.execute(query, [run_id]).fetchone()[0]
            for name, query in queries.items()
        }
    )


def begin(home: Home, launcher: PretendingLauncher) -> Supervisor:
    require_usable.FIRST_LOOK_S = 0.0  # nobody looks at GPUs here
    supervisor = Supervisor(home, open_store(home.database))
    supervisor.launcher = launcher
    liveness.adopt(supervisor)
    return supervisor


def sample(hour: float, supervisor: Supervisor, apps: list[App]) -> dict[str, float]:
    """Measure this process, and the time spent on answers since the last sample."""
    own = psutil.Process()
    took = [ms for app in apps for ms in app.took_ms]
    for app in apps:
        app.took_ms.clear()
    return {
        "hour": hour, "rss_mib": round(own.memory_info().rss / 2**20, 1), "handles": own.num_fds(),
        "threads": own.num_threads(), "answer_ms": round(median(took), 2), "queued": len(supervisor.queued),
        "live": len(supervisor.live),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    asyncio.run(soak(args.home, args.hours, args.runs, args.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
