"""What the queue's listing says of time: what runs and for how long yet, and when what waits would start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.queue import LiveRow
from finetop.core.protocol.runs import Share
from finetop.core.runtime.gpu import Gpu
from finetop.core.store import checks
from finetop.core.store.jobs import Job
from finetop.core.supervisor.gpus import pool
from finetop.core.supervisor.gpus.placement import Rules, Waiting, Want, decide
from finetop.core.supervisor.gpus.usage import card_of
from finetop.core.supervisor.state import Supervisor
from finetop.core.wording.queue import ON_CPU

REMEMBERED = 60  # ended jobs that lengths are learned from, the newest
MOST = (
    20  # jobs that are told a time: each end asks anew for all who wait, 20 of them on 8 GPUs take some 10 ms
)
# What a run's length depends on, beside its model, method and data: a sweep over anything else has runs of one length.
LENGTH_SETTINGS = ("epochs", "max_steps", "batch_size", "grad_accumulation", "activation_checkpointing")


def live_rows(supervisor: Supervisor, live: Sequence[Job], tried: Mapping[int, data.Tried]) -> list[LiveRow]:
    """List what runs, with what it has of the GPUs, or the nodes that it is on; `tried` is by job."""
    on = {job: place.nodes for job, place in supervisor.places.items()}
    has_none = supervisor.pool.has_looked and not supervisor.pool.is_in_charge
    here = {job.id: data.gpus_word(job.gpus) or (ON_CPU if has_none else "") for job in live}
    return [
        LiveRow(
            job.run_id,
            job.run_name,
            job.verb,
            job.state,
            on.get(job.id) or here[job.id],
            tried.get(job.id),
        )
        for job in live
        if isinstance(job.state, data.Running)
    ]


def starts(
    supervisor: Supervisor,
    live: Sequence[Job],
    line: Sequence[Job],
    recipes: Mapping[int, dict[str, Any]],
    now: float,
) -> dict[int, tuple[float, str]]:
    """Tell of the first waiting jobs, in their order, at which moment each would start, and after which run's end.

    `recipes` are those of all these jobs' runs, by the runs' numbers.
    """
    may = [job for job in line if _may_start(supervisor, job, now)][:MOST]
    live = [job for job in live if job.id not in supervisor.places]
    if not may:
        return {}
    lengths = Lengths(supervisor.connection, recipes)
    for job in live:
        lengths.learn(job, now)
    own, rules = supervisor.pool, pool.rules_of(supervisor)
    ours = [gpu for gpu in own.seen.gpus if not pool.left_out(supervisor, gpu)]
    has_gpus = own.is_in_charge and bool(ours)
    held = pool.held_by(live, own.look) if has_gpus and own.look is not None else ()
    going = [
        Going(job.run_name, tuple(share for of, share in held if of == job.id), lengths.left(job))
        for job in live
    ]
    coming = []
    for job in may:
        want = own.wants.get(job.id) if has_gpus else Want(gpus=0)
        if want is None:
            break  # what it asks for is known in a moment
        coming.append(Coming(Waiting(job.id, job.run_name, want), lengths.whole(job)))
    cards = [card_of(gpu, own.uses[gpu.uuid]) for gpu in ours if not gpu.fault] if has_gpus else []
    unfit = sum(1 for gpu in ours if gpu.fault) if has_gpus else 0
    found = play(going, coming, cards, rules, unfit=unfit)
    floor = supervisor.quiet_until or 0.0
    return {
        job.id: (max(now + found[job.id].in_s, floor, job.not_before or 0.0), found[job.id].after)
        for job in may
        if job.id in found
    }


def _may_start(supervisor: Supervisor, job: Job, now: float) -> bool:
    """Say whether a job will start without a person's doing and without another run's success."""
    if job.held or supervisor.is_held or job.run_id in supervisor.waiting:
        return False
    is_for_later = supervisor.quiet_until is not None or (job.not_before or 0.0) > now
    return is_for_later or job.id not in supervisor.why


class Lengths:
    """How long jobs took here: training by all that its length depends on, checks by their model."""

    def __init__(self, connection: Connection, recipes: Mapping[int, dict[str, Any]]) -> None:
        self._recipes = recipes
        self._train: dict[str, float] = {}  # the newest of each kind
        self._checks: dict[str, list[float]] = {}
        ended = connection.execute(
            "SELECT j.verb, j.args, j.state, r.recipe FROM jobs j JOIN runs r ON r.id = j.run_id"
            " WHERE j.word = 'finished' AND j.verb IN ('train', 'check') ORDER BY j.id DESC LIMIT ?",
            [REMEMBERED],
        ).fetchall()
        for verb, args, state, recipe in ended:
            took = msgspec.json.decode(state, type=data.Finished)
            made = msgspec.json.decode(recipe)
            if verb == "check":
                self._checks.setdefault(made["model"]["id"], []).append(took.ended - took.since)
            elif "resume" not in msgspec.json.decode(args):
                self._train.setdefault(length_key(made), took.ended - took.since)

    def learn(self, job: Job, now: float) -> None:
        """Take a live job for one of its kind where none has ended: the first of a sweep tells of the rest."""
        assert isinstance(job.state, data.Running)
        if job.verb == "train" and job.state.left_s is not None and "resume" not in job.args:
            took = now - job.state.since + job.state.left_s
            self._train.setdefault(length_key(self._recipes[job.run_id]), took)

    def left(self, job: Job) -> float | None:
        """Tell how long a live job goes on, with the check that follows it."""
        assert isinstance(job.state, data.Running)
        if job.state.left_s is None:
            return None
        recipe = self._recipes[job.run_id]
        return job.state.left_s + self._check_after(job, recipe)

    def whole(self, job: Job) -> float | None:
        """Tell how long a waiting job would take, with the check that follows it."""
        recipe = self._recipes[job.run_id]
        if job.verb == "check":
            return self._check(recipe)
        if job.verb != "train" or "resume" in job.args:
            return None
        trains = self._train.get(length_key(recipe))
        return None if trains is None else trains + self._check_after(job, recipe)

    def _check(self, recipe: dict[str, Any]) -> float | None:
        known = self._checks.get(recipe["model"]["id"])
        return median(known[:5]) if known else None

    def _check_after(self, job: Job, recipe: dict[str, Any]) -> float:
        if job.verb != "train" or not checks.is_wanted_at_end(recipe):
            return 0.0
        return self._check(recipe) or 0.0


@dataclass(frozen=True)
class Going:
    """A live job: what it holds, and for how long yet; None: nobody knows."""

    name: str
    held: tuple[Share, ...]
    left_s: float | None


@dataclass(frozen=True)
class Coming:
    """A job that may start as soon as there is room, and how long it would hold that."""

    waiting: Waiting
    lasts_s: float | None


@dataclass(frozen=True)
class Start:
    """When a job would start, from now on, and at whose end; nobody's: there is room."""

    in_s: float
    after: str = ""


def play(
    going: Sequence[Going], coming: Sequence[Coming], cards: Sequence[Gpu], rules: Rules, *, unfit: int = 0
) -> dict[int, Start]:
    """Tell of each job when it would start. One that waits for an end that nobody knows is left out."""
    live, left, now, after = list(going), list(coming[:MOST]), 0.0, ""
    starts: dict[int, Start] = {}
    while True:
        held = [share for job in live for share in job.held]
        busy = sum(1 for job in live if not job.held)
        found = decide([job.waiting for job in left], cards, held, rules, unfit=unfit, cpu_live=busy)
        for job in left:
            if job.waiting.job in found.starts:
                starts[job.waiting.job] = Start(now, after)
                end = None if job.lasts_s is None else now + job.lasts_s
                live.append(Going(job.waiting.name, found.starts[job.waiting.job], end))
        left = [job for job in left if job.waiting.job not in starts]
        ends = sorted((job.left_s, number) for number, job in enumerate(live) if job.left_s is not None)
        if not left or not ends:
            return starts
        now, number = max(now, ends[0][0]), ends[0][1]
        after = live.pop(number).name


def length_key(recipe: dict[str, Any]) -> str:
    """Name what the length of a run depends on: two recipes of one key take about as long on one machine."""
    train, method, objective = recipe["train"], recipe["method"], recipe["objective"]
    of_train = [train.get(name) for name in LENGTH_SETTINGS]
    return repr((recipe["model"], method["name"], objective, recipe["data"], of_train))
