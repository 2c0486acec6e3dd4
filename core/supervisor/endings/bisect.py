"""The next check of a bisection: queued where the one before is written down as ended, so that a crash loses none."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from duckdb import DuckDBPyConnection as Connection

from finetop.core.check import bisect
from finetop.core.errors import FinetopError
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages.checks import Check
from finetop.core.store import checks, runs
from finetop.core.store.jobs import Job
from finetop.core.supervisor.queue import checks as queue


@dataclass(frozen=True)
class Known:
    """A run's checkpoints, ascending, and the result of each checked one."""

    steps: list[int]
    seen: dict[int, bisect.Seen]

    @property
    def text(self) -> str:
        return bisect.conclude(self.steps, self.seen).text if self.steps else "it has no checkpoint."

    def is_watch(self, step: int) -> bool:
        """Whether a check of a step claims nothing: the newest is the one that a check of the run would claim about."""
        return step != max(one for one in self.steps if self.seen.get(one) != "missing")


def known(connection: Connection, run_id: int, there: Set[int], made: Sequence[dict[str, Any]]) -> Known:
    """Return the results of a run's checkpoints; unchecked ones that are not on disk are missing.

    `made` are the run's results as the disk shows them: a verdict of weights that changed since counts as none.
    """
    wanted = bisect.wanted_settings(runs.recipe(connection, run_id), {})
    results = bisect.comparable(made, wanted)
    kept = {one.step for one in runs.detail(connection, run_id).checkpoints}
    steps = sorted(kept | set(results))
    seen: dict[int, bisect.Seen] = {step: result["verdict"] for step, result in results.items()}
    return Known(steps, seen | {step: "missing" for step in steps if step not in seen and step not in there})


def is_of_series(job: Job) -> bool:
    """Return whether another check may follow a job by itself."""
    return job.kind.gives_verdict and isinstance(job.args.get("earlier"), list)


def queue_next(
    connection: Connection, job: Job, state: data.State, made: Sequence[dict[str, Any]] | None = None
) -> None:
    """Queue the next check when one of a series has ended, inside the caller's transaction. `made` as in `known`.

    A checkpoint on the way that can't be used is skipped; any other failure, or a stop, ends the series.
    """
    if not is_of_series(job):
        return
    there = job.args["earlier"]
    if isinstance(state, data.Failed) and state.exit_code == 2 and job.args.get("watch"):
        there = [step for step in there if step != job.args["step"]]
    elif not isinstance(state, data.Finished):
        return
    made = checks.results(connection, job.run_id) if made is None else made
    all_known = known(connection, job.run_id, set(there), made)
    step = bisect.next_step(all_known.steps, all_known.seen)
    if step is None:
        return
    if (
        isinstance(state, data.Finished) and step == job.args["step"]
    ):  # something writes there, again and again
        print(f"run {job.run_id}: no further check: step {step} changed since its check", flush=True)
        return
    ask = Check(job.run_name, step, watch=all_known.is_watch(step))
    try:
        queue.add(connection, job.run_id, ask, {"earlier": there})
    except FinetopError as error:  # another check is under way, or the checkpoint is gone
        print(f"run {job.run_id}: no further check of earlier checkpoints: {error}", flush=True)
