"""When what waits would start: the queue played forward, each job as long as one like it took. Pure functions.

A guess, said as one: what is queued meanwhile, and what others do on a GPU, nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.supervisor.gpus.placement import Rules, Waiting, decide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.runs import Share
    from finetop.core.supervisor.gpus.placement import Card

MOST = (
    20  # jobs that are told a time: each end asks anew for all who wait, 20 of them on 8 GPUs take some 10 ms
)
# What a run's length depends on, beside its model, method and data: a sweep over anything else has runs of one length.
LENGTH_SETTINGS = ("epochs", "max_steps", "batch_size", "grad_accumulation", "activation_checkpointing")


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
    going: Sequence[Going], coming: Sequence[Coming], cards: Sequence[Card], rules: Rules, *, unfit: int = 0
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
