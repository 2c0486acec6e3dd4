"""Since which checkpoint a run has regressed: looks at earlier ones, one by one, or on and on until it is known.

What is looked at next follows from what is known (check/curve.py). Looks that follow each other are each a job that
carries which checkpoints were there at first; the next is queued where the one before is written down as ended, so
that a supervisor that dies in between loses none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from finetop.core.check import regression_step
from finetop.core.errors import FinetopError
from finetop.core.protocol import accepts, runs as data
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.triage import Earlier, EarlierAnswer, LookEarlier, LookEarlierAnswer
from finetop.core.store import checks, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.requests import checks as checking
from finetop.core.supervisor.save_records import record

if TYPE_CHECKING:
    from collections.abc import Set
    from pathlib import Path

    from duckdb import DuckDBPyConnection as Connection

    from finetop.core.store.jobs import Job
    from finetop.core.supervisor.state import Supervisor


@dataclass(frozen=True)
class Known:
    """A run's checkpoints, ascending, and what is known of each."""

    steps: list[int]
    seen: dict[int, regression_step.Seen]

    @property
    def text(self) -> str:
        return regression_step.conclude(self.steps, self.seen).text if self.steps else "it has no checkpoint."

    def is_watch(self, step: int) -> bool:
        """Whether a look at a step claims nothing: the newest is what a check of the run would claim about."""
        return step != max(one for one in self.steps if self.seen.get(one) != "missing")


async def tell(supervisor: Supervisor, ask: Earlier) -> EarlierAnswer:
    """Say what it takes to know it. Raises Refused while the run trains."""
    run_id, name, there = await _found(supervisor, ask.run)
    known = _known(supervisor.connection, run_id, there)
    newest = next(iter(checks.results(supervisor.connection, run_id)), {})
    return EarlierAnswer(
        name,
        sum(step not in known.seen for step in known.steps),
        regression_step.most_looks(known.steps, known.seen),
        known.text if known.seen else "",
        newest.get("seconds") or None,
    )


async def look(supervisor: Supervisor, ask: LookEarlier) -> LookEarlierAnswer:
    """Queue the look that says most. Raises Refused while the run trains, and what `checking.check` raises."""
    run_id, name, there = await _found(supervisor, ask.run)
    connection = supervisor.connection
    known = _known(connection, run_id, there)
    step = regression_step.next_step(known.steps, known.seen)
    if step is None:
        return LookEarlierAnswer(name, None, f"{name}: {known.text}")
    more: dict[str, Any] = {"earlier": sorted(there)} if ask.on else {}
    with transaction(connection):
        checking.queue(connection, run_id, Check(name, step, watch=known.is_watch(step)), more)
    supervisor.touch()
    await record(supervisor)
    then = "the next follows by itself until it is known" if ask.on else "then s checks the next"
    return LookEarlierAnswer(name, step, f"step {step:,} of {name} is queued for a check; {then}.")


def look_on(connection: Connection, job: Job, state: data.State) -> None:
    """Queue the next look when one of several has ended, inside of the caller's transaction.

    A checkpoint on the way that can't be used is left out; any other trouble, or a stop, ends them.
    """
    there = job.args.get("earlier")
    if job.verb != "check" or not isinstance(there, list):
        return
    if isinstance(state, data.Failed) and state.exit_code == 2 and job.args.get("watch"):
        there = [step for step in there if step != job.args["step"]]
    elif not isinstance(state, data.Finished):
        return
    known = _known(connection, job.run_id, set(there))
    step = regression_step.next_step(known.steps, known.seen)
    if step is None:
        return
    ask = Check(job.run_name, step, watch=known.is_watch(step))
    try:
        checking.queue(connection, job.run_id, ask, {"earlier": there})
    except FinetopError as error:  # somebody has another check under way, or the checkpoint is gone
        print(f"run {job.run_id}: no further check of earlier checkpoints: {error}", flush=True)


async def _found(supervisor: Supervisor, run: str) -> tuple[int, str, set[int]]:
    """Find a run that has ended, and which of its checkpoints are still there.

    Their folders are looked for in a thread: a network file system may take its time.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, run)
    detail = runs.detail(connection, run_id)
    accepts.ended(detail.row)
    return run_id, name, await aside(partial(_there, supervisor.home.root / detail.folder, detail))


def _there(folder: Path, detail: data.RunDetail) -> set[int]:
    return {one.step for one in detail.checkpoints if (folder / one.path).is_dir()}


def _known(connection: Connection, run_id: int, there: Set[int]) -> Known:
    """Gather what is known of a run's checkpoints; what was never looked at and is not there is missing."""
    wanted = regression_step.wanted_settings(runs.recipe(connection, run_id), {})
    results = regression_step.comparable(checks.results(connection, run_id), wanted)
    kept = {one.step for one in runs.detail(connection, run_id).checkpoints}
    steps = sorted(kept | set(results))
    seen: dict[int, regression_step.Seen] = {step: result["verdict"] for step, result in results.items()}
    return Known(steps, seen | {step: "missing" for step in steps if step not in seen and step not in there})


ANSWERS = {Earlier: tell, LookEarlier: look}
