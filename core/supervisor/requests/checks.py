"""Checks that are asked for: of which checkpoint, under which settings, as which claim, and how far they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.check import regression_step
from finetop.core.errors import BadInput, NotFound, Refused, did_you_mean
from finetop.core.protocol import accepts
from finetop.core.protocol.messages.checks import Check, CheckAnswer, Checks, ChecksAnswer, Flips, FlipsAnswer
from finetop.core.recipe.schema import General
from finetop.core.store import checks as store, claims, jobs, runs
from finetop.core.store.database import transaction
from finetop.core.text import clean_line

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection as Connection

    from finetop.core.supervisor.state import Supervisor


def check(supervisor: Supervisor, ask: Check) -> CheckAnswer:
    """Queue a check of a run's checkpoint, ahead of queued training.

    Raises NotFound without such a checkpoint, BadInput for settings that can't be, Refused while a check of this
    run is under way, or where no item is left to go on with.
    """
    connection = supervisor.connection
    run_id, _ = runs.find_run(connection, ask.run)
    with transaction(connection):
        answer = queue(connection, run_id, ask)
    supervisor.touch()
    return answer


def queue(
    connection: Connection,
    run_id: int,
    ask: Check,
    more: dict[str, Any] | None = None,
) -> CheckAnswer:
    """Queue a check inside of the caller's transaction; `more` goes into the job's args. Raises as `check`."""
    row, recipe = runs.row(connection, run_id), runs.recipe(connection, run_id)
    accepts.check(row)
    step, path = store.newest_checkpoint(connection, run_id, ask.step)
    args: dict[str, Any] = {"step": step, "checkpoint": path, **(more or {})}
    if settings := own_settings(ask.general, recipe):
        args["general"] = settings
    if ask.more is not None:
        _require_more(connection, run_id, step, regression_step.wanted_settings(recipe, settings), ask.more)
        args["more"] = ask.more
    claim = claims.claim_of(connection, run_id, step, args.get("general"), watch=ask.watch)
    job_id, _ = jobs.add_job(
        connection, run_id=run_id, verb="check", args={**args, **claim.args}, priority=jobs.CHECK_PRIORITY
    )
    return CheckAnswer(job_id, row.name, step)


def own_settings(given: dict[str, Any], recipe: dict[str, Any]) -> dict[str, Any]:
    """Keep of a check's settings those that differ from its run's: asked for or not, they are the same claim.

    Raises BadInput for a setting that check.general has not, or a value that it can't have.
    """
    try:
        wanted = msgspec.to_builtins(msgspec.convert(given, General))
    except msgspec.ValidationError as error:
        raise BadInput(f"check.general: {error}.", hint="See `finetop check --help`.") from error
    own = (recipe.get("check") or {}).get("general") or msgspec.to_builtins(General())
    return {key: wanted[key] for key in given if wanted[key] != own.get(key)}


def _require_more(
    connection: Connection, run_id: int, step: int, wanted: dict[str, Any], more: list[str]
) -> None:
    """See that a check that is gone on with has items left to ask, as far as one was made. Raises NotFound, Refused."""
    made = regression_step.comparable(store.results(connection, run_id), wanted).get(step)
    if made is None:
        return
    tasks = {task["task"]: task for task in made["tasks"] if task["mark"] != "unmeasurable"}
    for name in more:
        if name not in tasks:
            raise NotFound(
                f"its check has no task {clean_line(name, limit=80)!r}.", hint=did_you_mean(name, tasks)
            )
    if all(tasks[name]["n"] >= tasks[name]["total"] for name in more or tasks):
        what = ", ".join(more) or "the suite"
        raise Refused(f"every item of {what} was asked already.", hint="Another suite has others: --suite.")


def results(supervisor: Supervisor, ask: Checks) -> ChecksAnswer:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    return ChecksAnswer(store.results(supervisor.connection, run_id))


def flips(supervisor: Supervisor, ask: Flips) -> FlipsAnswer:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    return store.flips(supervisor.connection, run_id, ask.check_id, ask.task)


ANSWERS = {Checks: results, Flips: flips, Check: check}
