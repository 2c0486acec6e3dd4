"""Put a check into the queue: of which checkpoint, with which settings, as which claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.check import bisect
from finetop.core.errors import BadInput, NotFound, Refused, did_you_mean
from finetop.core.protocol import accepts
from finetop.core.protocol.messages.checks import Check, CheckAnswer
from finetop.core.recipe.schema import General
from finetop.core.store import checks as store, claims, jobs, runs
from finetop.core.text import clean_line


def add(
    connection: Connection,
    run_id: int,
    ask: Check,
    more: dict[str, Any] | None = None,
    made: Sequence[dict[str, Any]] = (),
) -> CheckAnswer:
    """Queue a check inside the caller's transaction; `more` goes into the job's args. Raises as `check`.

    `made` are the run's results so far, as far as they matter.
    """
    row, recipe = runs.row(connection, run_id), runs.recipe(connection, run_id)
    accepts.check(row)
    step, path = store.newest_checkpoint(connection, run_id, ask.step)
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
