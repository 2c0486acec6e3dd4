"""Requested checks: of which checkpoint, with which settings, as which claim, and how many items."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from duckdb import DuckDBPyConnection as Connection

from finetop.core.check import bisect
from finetop.core.check.tasks.jsonl import require_items
from finetop.core.errors import FinetopError
from finetop.core.protocol import accepts, runs as data
from finetop.core.protocol.messages.checks import Check, CheckAnswer, Checks, ChecksAnswer, Flips, FlipsAnswer
from finetop.core.runtime import parts
from finetop.core.runtime.home import Home
from finetop.core.store import checks as store, jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor import saved_checkpoints
from finetop.core.supervisor.gpus.require_usable import require_usable_gpus
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.queue import checks as queue
from finetop.core.supervisor.state import Supervisor


async def check(supervisor: Supervisor, ask: Check) -> CheckAnswer:
    """Queue a check of a run's checkpoint, ahead of queued training.

    Raises NotFound if there is no such checkpoint, BadInput for invalid settings, EnvironmentTrouble for a GGUF file
    without llama.cpp, Refused if no item is left to continue with, or while another check of this run is under way,
    unless `reuse` allows that one.
    """
    connection = supervisor.connection
    run_id, _ = runs.find_run(connection, ask.run)
    recipe = runs.recipe(connection, run_id)
    settings = bisect.wanted_settings(recipe, queue.own_settings(ask.general, recipe))
    fault = await aside(partial(_fault, settings["suite"], recipe["method"]["name"], supervisor.home))
    made = await queue.compared_with_disk(supervisor, run_id, store.results(connection, run_id), hashes=True)
    gone = await saved_checkpoints.gone(supervisor, run_id)
    run_id, _ = runs.find_run(connection, ask.run)  # it may have been removed meanwhile
    if ask.reuse != "none" and (existing := find_existing(connection, run_id, ask, made, gone)) is not None:
        return existing
    if fault is not None:
        raise fault
    await require_usable_gpus(supervisor, [recipe])
    run_id, _ = runs.find_run(connection, ask.run)
    with transaction(connection):
        answer = queue.add(connection, run_id, ask, made=made, gone=gone)
    supervisor.touch()
    return answer


def _fault(suite: str, method: str, home: Home) -> FinetopError | None:
    """Return why a model can't be asked a suite; it matters only if there is no verdict yet."""
    try:
        require_items(suite, home)
        if method == data.GGUF:
            parts.require("llama_cpp_py_sync")
    except FinetopError as error:
        return error
    return None


def find_existing(
    connection: Connection, run_id: int, ask: Check, made: list[dict[str, Any]], gone: Collection[int] = ()
) -> CheckAnswer | None:
    """Return the check that fits the request, or the job to wait for; None: queue one now. Raises as `check`.

    A verdict fits only the weights whose hash it holds.
    """
    row, recipe = runs.row(connection, run_id), runs.recipe(connection, run_id)
    accepts.writes_text(row)
    name = row.name
    settings = queue.own_settings(ask.general, recipe)
    under_way = [job for job in jobs.of_run(connection, run_id) if job.is_under_way]
    checking = next((job for job in under_way if job.kind.gives_verdict), None)
    making = next((job for job in under_way if job.kind.makes_a_run), None)
    if making is not None and ask.step is None and _is_for_its_end(connection, run_id, recipe, making):
        return CheckAnswer(making.id, name, 0, "after")
    # a verdict on named weights stands when they are deleted
    step, _ = store.newest_checkpoint(connection, run_id, ask.step, gone if ask.step is None else ())
    if checking is not None:
        args = checking.args
        is_this = (args["step"], args.get("general", {}), args.get("more")) == (step, settings, ask.more)
        return CheckAnswer(checking.id, name, args["step"], "under_way" if is_this else "after")
    result = bisect.comparable(made, bisect.wanted_settings(recipe, settings)).get(step)
    if result is None:
        return None
    if ask.more is not None:
        is_enough = not queue.has_more(result, ask.more)
    else:  # what could not be measured may be available by now
        is_enough = ask.reuse == "made" and not result.get("target_failed")
    return CheckAnswer(0, name, step, "made", result["check_id"]) if is_enough else None


def _is_for_its_end(connection: Connection, run_id: int, recipe: dict[str, Any], making: data.JobRow) -> bool:
    """Return True if the check has to wait for the run's end: nothing is saved yet, or it is checked then anyway."""
    is_held = any(job.held for job in jobs.queued(connection) if job.id == making.id)
    is_checked_then = store.runs_at_end(recipe) and not is_held
    return is_checked_then or not store.has_checkpoint(connection, run_id)


async def results(supervisor: Supervisor, ask: Checks) -> ChecksAnswer:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    made = store.results(supervisor.connection, run_id)
    return ChecksAnswer(await queue.compared_with_disk(supervisor, run_id, made, hashes=False))


def flips(supervisor: Supervisor, ask: Flips) -> FlipsAnswer:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    return store.flips(supervisor.connection, run_id, ask.check_id, ask.task)


ANSWERS = {Checks: results, Flips: flips, Check: check}
