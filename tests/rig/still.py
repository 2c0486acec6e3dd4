"""A home whose supervisor is in the test's own process: nothing starts; runs are made as if their jobs had run."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import store_rows
from rig import load_recipe
from store_rows import empty_database

from finetop.core.check.statistics.conclude import check_pairs
from finetop.core.check.statistics.item_order import Item
from finetop.core.check.statistics.plan import make_plan
from finetop.core.check.statistics.verdict import PairedItem, TaskPlan
from finetop.core.protocol import events, job_kinds, runs as data
from finetop.core.protocol.messages.submit import Submit
from finetop.core.runtime.home import Home, prepare
from finetop.core.store import jobs, run_records, runs
from finetop.core.store.database import open_store, transaction
from finetop.core.supervisor.gpus import require_usable
from finetop.core.supervisor.requests import submit
from finetop.core.supervisor.state import Supervisor

T = TypeVar("T")


@dataclass
class Still:
    supervisor: Supervisor
    records: bool = True  # are written when a job has ended

    @property
    def home(self) -> Home:
        return self.supervisor.home

    def close(self) -> None:
        run_records.write_marked(self.supervisor.connection, self.supervisor.home.root)
        self.supervisor.connection.close()

    def open(self) -> None:
        self.supervisor.connection = open_store(self.home.database)
        self.supervisor.touch()

    def queue(self, name: str, model: str = "") -> int:
        loaded = load_recipe()
        recipe = copy.deepcopy(loaded.resolved)
        if model:
            recipe["model"] = {**recipe["model"], "id": model}
        return answered(submit.submit(self.supervisor, Submit(recipe, loaded.text, name))).run_id

    def run(
        self,
        name: str,
        steps: tuple[int, ...] = (),
        *,
        model: str = "",
        ended: float | None = None,
        size: int = 1000,
        best: int | None = None,
        losses: dict[int, float] | None = None,
    ) -> int:
        """Make a finished run, with a checkpoint of `size` bytes at each step."""
        run_id = self.queue(name, model)
        query = "SELECT j.id, r.folder, j.folder FROM jobs j JOIN runs r ON r.id = run_id WHERE run_id = ?"
        job_id, run_folder, job_folder = self.rows(query, run_id)[0]
        folder = self.home.root / run_folder
        job_events: list[events.Event] = [events.Started(1, 1, 1, "cpu", "float32", {"torch": "2"})]
        for step in steps:
            values = {"loss": 1.0 / step, **({"eval_loss": losses[step]} if losses else {})}
            make_checkpoint(folder, step, size)
            saved = events.Checkpoint(step, f"checkpoints/step-{step:06d}", size, "adapter")
            job_events += [events.metrics(step, values), saved]
        if best is not None:
            job_events.append(events.Best(best, "the last one that is OK"))
        state = data.Finished(since=1.0, ended=time.time() if ended is None else ended)
        self._end(run_id, job_id, folder / job_folder, [*job_events, events.Ended("finished")], state)
        return run_id

    def job(
        self, run_id: int, verb: data.Verb, job_events: list[events.Event], state: data.State, **args: Any
    ) -> None:
        """Add a job to a run that wrote these events and ended like this."""
        connection = self.supervisor.connection
        with transaction(connection):
            job_id, name = jobs.add_job(connection, run_id=run_id, verb=verb, args=args, priority=0)
        run_folder = self.rows("SELECT folder FROM runs WHERE id = ?", run_id)[0][0]
        self._end(run_id, job_id, self.home.root / run_folder / name, job_events, state)

    def _end(
        self, run_id: int, job_id: int, folder: Path, job_events: list[events.Event], state: data.State
    ) -> None:
        connection = self.supervisor.connection
        folder.mkdir(mode=0o700, parents=True)
        with transaction(connection):
            jobs.begin_attempt(connection, job_id)
        store_rows.take_in(connection, job_id, folder / "events.jsonl", *job_events)
        self.set_state(job_id, state)
        if self.records:
            run_records.write_marked(connection, self.home.root)

    def set_state(self, job_id: int, state: data.State) -> None:
        """Set a job's state, and its run's if it makes that."""
        connection = self.supervisor.connection
        run_id, verb = self.rows("SELECT run_id, verb FROM jobs WHERE id = ?", job_id)[0]
        with transaction(connection):
            jobs.set_state(connection, job_id, state)
            if job_kinds.of(verb).makes_a_run:
                runs.set_state(connection, run_id, state)
        self.supervisor.touch()

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.supervisor.connection.execute(sql, list(values)).fetchall()


def answered(reply: Coroutine[Any, Any, T]) -> T:
    """Return what a request answers, also to a test that runs in an event loop itself."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, reply).result()


def make_checkpoint(folder: Path, step: int, size: int) -> Path:
    place = folder / "checkpoints" / f"step-{step:06d}"
    (place / "state").mkdir(parents=True)
    (place / "weights.safetensors").write_bytes(b"w" * size)
    (place / "manifest.json").write_text(json.dumps({"files": {"weights.safetensors": size}}))
    return place


def still(root: Path) -> Still:
    require_usable.FIRST_LOOK_S = 0.0  # nobody looks at GPUs here
    home = Home(root)
    prepare(home)
    if not home.database.exists():
        home.database.write_bytes(empty_database())
    return Still(Supervisor(home, open_store(home.database)))


def verdict(lost: int = 0, *, step: int = 1, claim: int = 0, watch: bool = False) -> dict[str, Any]:
    """Return the result of a real check of 100 items, of which the tuned model lost some."""
    result = json.loads(judged(lost))
    return {**result, "suite": "quick", "step": step, "claim": claim, "watch": watch}


@cache
def judged(lost: int) -> bytes:
    items = [Item("task", f"i{n}", f"i{n}") for n in range(100)]
    base = {item.key: 1.0 for item in items}
    plan = make_plan([TaskPlan("task", "acc", 0.25)], items, base, seed=1, cap=None)
    pairs = [PairedItem(i.task, i.item, i.item, 1.0, float(int(i.item[1:]) >= lost)) for i in plan.order]
    return msgspec.json.encode(check_pairs(plan, pairs))
