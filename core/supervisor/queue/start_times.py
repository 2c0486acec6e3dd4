"""Times in the queue's listing: how long running jobs will go on, and when waiting ones would start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import job_kinds, runs as data
from finetop.core.protocol.job_kinds import JobKind
from finetop.core.protocol.messages.queue import LiveRow
from finetop.core.protocol.runs import Share
from finetop.core.runtime.gpu import Gpu
from finetop.core.store import checks, jobs
from finetop.core.store.jobs import Job
from finetop.core.supervisor.gpus import pool
from finetop.core.supervisor.gpus.placement import Rules, Waiting, Want, decide
from finetop.core.supervisor.gpus.usage import card_of
from finetop.core.supervisor.state import Supervisor
from finetop.core.wording.queue import ON_CPU

REMEMBERED = 60  # newest ended jobs that durations are learned from
# jobs that are told a time: each end asks again for all that wait, 20 of them on 8 GPUs take some 10 ms
MOST = 20


def live_rows(supervisor: Supervisor, live: Sequence[Job], tried: Mapping[int, data.Tried]) -> list[LiveRow]:
    """List running jobs with their GPUs or nodes; `tried` is by job id."""
    nodes = {job: place.nodes for job, place in supervisor.places.items()}
    has_none = supervisor.pool.has_looked and not supervisor.pool.is_in_charge
    rows = []
    for job in live:
        if isinstance(job.state, data.Running):
            on = nodes.get(job.id) or data.gpus_word(job.gpus) or (ON_CPU if has_none else "")
            rows.append(LiveRow(job.run_id, job.run_name, job.verb, job.state, on, tried.get(job.id)))
    return rows


def starts(
    supervisor: Supervisor,
    live: Sequence[Job],
    line: Sequence[Job],
    recipes: Mapping[int, dict[str, Any]],
    now: float,
) -> dict[int, tuple[float, str]]:
    """Return when the first waiting jobs would start (wall clock), after which run's end; `recipes` are by run id."""
    may = [job for job in line if _may_start(supervisor, job, now)][:MOST]
    live = [job for job in live if job.id not in supervisor.places and not job.kind.idles]
    if not may:
        return {}
    lengths = Lengths(supervisor.connection, recipes)
    for job in live:
        lengths.learn(job, now)
    own, rules = supervisor.pool, pool.rules_of(supervisor)
    ours = [gpu for gpu in own.seen.gpus if not pool.left_out(supervisor, gpu)]
    has_gpus = own.is_in_charge and bool(ours)
    held = pool.held_by(live, own.newest) if has_gpus and own.newest is not None else ()
    held_of = {job.id: tuple(share for of, share in held if of == job.id) for job in live}
    going = [Going(job.run_name, held_of[job.id], lengths.left(job, now)) for job in live]
    coming = []
    for job in may:
        need = own.wants.get(job.id) if has_gpus else Want(gpus=0)
        if need is None:
            break  # its need is known in a moment
        coming.append(Coming(Waiting(job.id, job.run_name, need), lengths.whole(job)))
    cards = [card_of(gpu, own.uses[gpu.uuid]) for gpu in ours if not gpu.fault] if has_gpus else []
    unfit = sum(1 for gpu in ours if gpu.fault) if has_gpus else 0
    simulated = simulate(going, coming, cards, rules, unfit=unfit)
    floors = {job.id: max(supervisor.quiet_until or 0.0, job.not_before or 0.0) for job in may}
    return {job: (max(now + start.in_s, floors[job]), start.after) for job, start in simulated.items()}


def _may_start(supervisor: Supervisor, job: Job, now: float) -> bool:
    """Return True if a job will start without a user's action or another run's success."""
    if job.held or supervisor.is_held or job.run_id in supervisor.waiting:
        return False
    is_for_later = supervisor.quiet_until is not None or (job.not_before or 0.0) > now
    return is_for_later or job.id not in supervisor.why


class Lengths:
    """How long whole jobs take, all their phases: of training by everything it depends on, of others by model."""

    def __init__(self, connection: Connection, recipes: Mapping[int, dict[str, Any]]) -> None:
        self._recipes = recipes
        self._took: dict[str, list[float]] = {}  # by kind of job, newest first
        learned = [verb for verb, kind in job_kinds.kinds().items() if type(kind).alike is not JobKind.alike]
        for verb, args, state, recipe in jobs.newest_finished(connection, learned, REMEMBERED):
            finished, of_job = msgspec.json.decode(state, type=data.Finished), msgspec.json.decode(recipe)
            if key := kind_of(verb, msgspec.json.decode(args), of_job):
                self._took.setdefault(key, []).append(finished.ended - finished.since)

    def learn(self, job: Job, now: float) -> None:
        """Use a live job's estimate if none of its kind has ended: the first run of a sweep stands for the rest."""
        assert isinstance(job.state, data.Running)
        left_s, key = _own_left(job), self._kind(job)
        if key and left_s is not None:
            self._took.setdefault(key, [now - job.state.since + left_s])

    def left(self, job: Job, now: float) -> float | None:
        """Return how long a live job goes on, including the check that follows it; None if its end is unknown.

        A job that reports a phase's end alone goes on for what is left of the usual time, if it is known.
        """
        assert isinstance(job.state, data.Running)
        own, usual = _own_left(job), self._usual(job)
        if own is None and usual is not None:
            own = max(0.0, usual - (now - job.state.since))
        return self._with_check(job, own)

    def whole(self, job: Job) -> float | None:
        """Return how long a waiting job would take, including the check that follows it."""
        return self._with_check(job, self._usual(job))

    def _kind(self, job: Job) -> str:
        return kind_of(job.verb, job.args, self._recipes[job.run_id])

    def _usual(self, job: Job) -> float | None:
        durations = self._took.get(self._kind(job), ())
        if not durations:
            return None
        return durations[0] if job.kind.trains_here else median(durations[:5])

    def _with_check(self, job: Job, seconds: float | None) -> float | None:
        """Add the check that follows a training; None if it is unknown how long that takes."""
        recipe = self._recipes[job.run_id]
        if seconds is None or not job.kind.trains_here or not checks.runs_at_end(recipe):
            return seconds
        durations = self._took.get(kind_of("check", {}, recipe), ())
        return seconds + median(durations[:5]) if durations else None


def _own_left(job: Job) -> float | None:
    """Return the seconds left that a job reports, if it means the whole job and not its phase."""
    assert isinstance(job.state, data.Running)
    return job.state.left_s if job.kind.reports_whole else None


def kind_of(verb: str, args: Mapping[str, Any], recipe: dict[str, Any]) -> str:
    """Return the key of a job's duration: those with the same key take about as long here; empty: unlike others."""
    alike = job_kinds.of(verb).alike(args, recipe)
    return "" if alike is None else f"{verb} {alike}"


@dataclass(frozen=True)
class Going:
    """A live job: its GPUs and remaining seconds (None: unknown)."""

    name: str
    held: tuple[Share, ...]
    left_s: float | None


@dataclass(frozen=True)
class Coming:
    """A job that may start as soon as there is room, and for how long it would occupy it."""

    waiting: Waiting
    lasts_s: float | None


@dataclass(frozen=True)
class Start:
    """When a job would start, in seconds from now, and after which run's end; '' if there is room now."""

    in_s: float
    after: str = ""


def simulate(
    going: Sequence[Going], coming: Sequence[Coming], cards: Sequence[Gpu], rules: Rules, *, unfit: int = 0
) -> dict[int, Start]:
    """Return when each job would start, by simulating the queue. A job behind an end at an unknown time is left out."""
    live, waiting, now, after = list(going), list(coming[:MOST]), 0.0, ""
    starts: dict[int, Start] = {}
    while True:
        held = [share for job in live for share in job.held]
        busy = sum(1 for job in live if not job.held)
        decision = decide([job.waiting for job in waiting], cards, held, rules, unfit=unfit, cpu_live=busy)
        for job in waiting:
            if job.waiting.job in decision.starts:
                starts[job.waiting.job] = Start(now, after)
                end = None if job.lasts_s is None else now + job.lasts_s
                live.append(Going(job.waiting.name, decision.starts[job.waiting.job], end))
        waiting = [job for job in waiting if job.waiting.job not in starts]
        ends = sorted((job.left_s, number) for number, job in enumerate(live) if job.left_s is not None)
        if not waiting or not ends:
            return starts
        now, number = max(now, ends[0][0]), ends[0][1]
        after = live.pop(number).name
