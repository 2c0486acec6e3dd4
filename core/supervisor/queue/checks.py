"""Put a check into the queue: of which checkpoint, with which settings, as which claim."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.check import bisect, checked_weights
from finetop.core.check.checked_weights import WEIGHTS_NOW, compared
from finetop.core.errors import BadInput, NotFound, Refused, did_you_mean
from finetop.core.protocol import accepts
from finetop.core.protocol.messages.checks import Check, CheckAnswer
from finetop.core.protocol.runs import Now
from finetop.core.recipe.schema import General
from finetop.core.store import checks as store, claims, jobs, runs
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.state import Supervisor
from finetop.core.text import clean_line
from finetop.core.wording import verdicts

MOMENT_S = 1.0  # a run is shown without the state of its weights if its disk does not answer


def add(
    connection: Connection,
    run_id: int,
    ask: Check,
    more: dict[str, Any] | None = None,
    made: Sequence[dict[str, Any]] = (),
    gone: Collection[int] = (),
) -> CheckAnswer:
    """Queue a check inside the caller's transaction; `more` goes into the job's args. Raises as `check`.

    `made` are the run's results so far, as far as they matter; `gone` the steps whose weights were deleted.
    """
    row, recipe = runs.row(connection, run_id), runs.recipe(connection, run_id)
    accepts.check(row)
    step, path = store.newest_checkpoint(connection, run_id, ask.step, gone)
    args: dict[str, Any] = {"step": step, "checkpoint": path, **(more or {})}
    settings = own_settings(ask.general, recipe)
    if settings:
        args["general"] = settings
    wanted = bisect.wanted_settings(recipe, settings)
    newest = bisect.comparable(made, wanted).get(step)
    has_changed = newest is None and step in bisect.comparable(made, wanted, of_any_weights=True)
    if ask.more is not None:
        if newest is not None and not has_more(newest, ask.more):
            what = ", ".join(ask.more) or "the suite"
            raise Refused(f"every item of {what} has been scored.", hint="Try another suite: --suite.")
        args["more"] = ask.more
    args |= claims.claim_of(connection, run_id, step, args.get("general"), watch=ask.watch).args
    job_id, _ = jobs.add_job(connection, run_id=run_id, verb="check", args=args)
    return CheckAnswer(job_id, row.name, step, has_changed=has_changed)


async def compared_with_disk(
    supervisor: Supervisor, run_id: int, results: list[dict[str, Any]], *, hashes: bool
) -> list[dict[str, Any]]:
    """Return results of a run, each with what became of its weights: see core/check/checked_weights.py.

    Files are looked at in a thread: a network file system may be slow.
    """
    if not results:
        return results
    detail = runs.detail(supervisor.connection, run_id)
    folder = supervisor.home.root / detail.folder
    checkpoints = {saved.step: folder / saved.path for saved in detail.checkpoints}
    how: dict[str, Any] = {"recipe": detail.recipe, "home": supervisor.home, "hashes": hashes}
    return await aside(partial(compared, results, checkpoints, **how))


async def weights_now(supervisor: Supervisor, run_id: int) -> dict[int, Now]:
    """Return what became of the weights of a run's checks, by check, as far as it shows within a moment."""
    results = store.models_of(supervisor.connection, run_id)
    try:
        work = compared_with_disk(supervisor, run_id, results, hashes=False)
        return {result["check_id"]: result[WEIGHTS_NOW] for result in await asyncio.wait_for(work, MOMENT_S)}
    except TimeoutError:
        return {}


async def newest_of(
    supervisor: Supervisor, run_id: int, step: int, *, hashes: bool = True
) -> dict[str, Any] | None:
    """Return a checkpoint's own newest result, with what became of its weights; None if it was never checked."""
    result = store.newest_result(supervisor.connection, run_id, step)
    if result is None or result["step"] != step:
        return None
    (compared_result,) = await compared_with_disk(supervisor, run_id, [result], hashes=hashes)
    return compared_result


async def outdated(supervisor: Supervisor, run_id: int, step: int) -> str:
    """Return in words that a checkpoint has other weights than its newest check is of; empty if it has not."""
    name = runs.row(supervisor.connection, run_id).name
    result = await newest_of(supervisor, run_id, step)
    return "" if result is None else verdicts.outdated(f"{name}@{step}", result[WEIGHTS_NOW])


async def outdated_base(supervisor: Supervisor, run_id: int) -> str:
    """Return in words that a run's base has other weights than the run's newest check is of; empty if it has not."""
    connection = supervisor.connection
    result, recipe = store.newest_result(connection, run_id), runs.recipe(connection, run_id)
    if result is None:
        return ""
    now = await aside(
        partial(checked_weights.weights_now, result, None, recipe, supervisor.home, hashes=True)
    )
    return verdicts.outdated(runs.row(connection, run_id).name, now, of_base=True)


def own_settings(given: dict[str, Any], recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from the run's own: the others make no other claim. Raises BadInput."""
    try:
        wanted = msgspec.to_builtins(msgspec.convert(given, General))
    except msgspec.ValidationError as error:
        raise BadInput(f"check.general: {error}.", hint="See `finetop check --help`.") from error
    own = (recipe.get("check") or {}).get("general") or msgspec.to_builtins(General())
    return {key: wanted[key] for key in given if wanted[key] != own.get(key)}


def has_more(made: dict[str, Any], more: list[str]) -> bool:
    """Return True if items of some of these tasks (of any, if none are named) were not scored. Raises NotFound."""
    tasks = {task["task"]: task for task in made["tasks"] if task["mark"] != "unmeasurable"}
    for name in more:
        if name not in tasks:
            message = f"its check has no task {clean_line(name, limit=80)!r}."
            raise NotFound(message, hint=did_you_mean(name, tasks))
    return any(tasks[name]["n"] < tasks[name]["total"] for name in more or tasks)
