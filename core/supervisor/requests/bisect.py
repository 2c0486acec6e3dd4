"""Finds the checkpoint since which a run has regressed: checks an earlier one, or one after another until it is known.

What is checked next follows from what is known (check/bisect.py). Each such check is a job that carries the
checkpoints that were there at first; the next one is queued in the transaction that ends it, so that a supervisor
that dies loses none.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from finetop.core.check import bisect
from finetop.core.models import checkpoint
from finetop.core.protocol import accepts, runs as data
from finetop.core.protocol.messages.bisect import Earlier, EarlierAnswer, LookEarlier, LookEarlierAnswer
from finetop.core.protocol.messages.checks import Check
from finetop.core.store import checks, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.endings import bisect as bisection
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.queue import checks as queue
from finetop.core.supervisor.state import Supervisor

MOMENT_S = 1.0  # a cell is shown without its unchecked steps if the run's disk does not answer


async def estimate(supervisor: Supervisor, ask: Earlier) -> EarlierAnswer:
    """Return how many checks the search would take. Raises Refused while the run trains."""
    run_id, name, on_disk, made = await _run_as_on_disk(supervisor, ask.run)
    results = bisection.known(supervisor.connection, run_id, on_disk, made)
    newest = next(iter(made), {})
    unseen, most = set(results.steps) - results.seen.keys(), bisect.most_looks(results.steps, results.seen)
    text = results.text if results.seen else ""
    return EarlierAnswer(name, len(unseen), most, text, newest.get("seconds") or None)


async def searchable(supervisor: Supervisor, run: str) -> list[int]:
    """Return the steps that a search would choose from; empty if it would only say what is known."""
    connection = supervisor.connection
    run_id, _ = runs.find_run(connection, run)
    try:
        look = _as_on_disk(supervisor, run_id, hashes=False)
        results = bisection.known(connection, run_id, *await asyncio.wait_for(look, MOMENT_S))
    except TimeoutError:  # a network file system that is slow or gone
        return []
    if not bisect.most_looks(results.steps, results.seen):
        return []
    return sorted(set(results.steps) - results.seen.keys())


async def check_next(supervisor: Supervisor, ask: LookEarlier) -> LookEarlierAnswer:
    """Queue the check that halves the remaining range. Raises Refused while the run trains, and as `checks.check`."""
    run_id, name, on_disk, made = await _run_as_on_disk(supervisor, ask.run)
    connection = supervisor.connection
    results = bisection.known(connection, run_id, on_disk, made)
    step = bisect.next_step(results.steps, results.seen)
    if step is None:
        return LookEarlierAnswer(name, None, f"{name}: {results.text}")
    more: dict[str, Any] = {"earlier": sorted(on_disk)} if ask.on else {}
    with transaction(connection):
        queue.add(connection, run_id, Check(name, step, watch=results.is_watch(step)), more, made)
    supervisor.touch()
    then = "the next follows by itself until it is known" if ask.on else "then s checks the next"
    return LookEarlierAnswer(name, step, f"step {step:,} of {name} is queued for a check; {then}.")


async def _run_as_on_disk(
    supervisor: Supervisor, run: str
) -> tuple[int, str, set[int], list[dict[str, Any]]]:
    """Find an ended run, and what `_as_on_disk` returns of it; its weights are hashed where they may have changed."""
    run_id, name = runs.find_run(supervisor.connection, run)
    accepts.ended(runs.row(supervisor.connection, run_id))
    return run_id, name, *await _as_on_disk(supervisor, run_id, hashes=True)


async def _as_on_disk(
    supervisor: Supervisor, run_id: int, *, hashes: bool
) -> tuple[set[int], list[dict[str, Any]]]:
    """Return the steps of a run's checkpoints on disk, and its results, each with what became of its weights.

    Files are looked at in a thread: a network file system may be slow.
    """
    detail = runs.detail(supervisor.connection, run_id)
    on_disk = await aside(partial(_steps_on_disk, supervisor.home.root / detail.folder, detail))
    results = checks.results(supervisor.connection, run_id)
    return on_disk, await queue.compared_with_disk(supervisor, run_id, results, hashes=hashes)


def _steps_on_disk(folder: Path, detail: data.RunDetail) -> set[int]:
    return {saved.step for saved in detail.checkpoints if not checkpoint.why_unusable(folder / saved.path)}


ANSWERS = {Earlier: estimate, LookEarlier: check_next}
