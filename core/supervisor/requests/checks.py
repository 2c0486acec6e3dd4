"""Checks that are asked for: of which checkpoint, under which settings, as which claim, and how far they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.check import regression_step
from finetop.core.errors import BadInput, NotFound, Refused, did_you_mean
from finetop.core.protocol import accepts, runs as data
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

    Raises NotFound without such a checkpoint, BadInput for settings that can't be, Refused where no item is left to
    go on with, or while a check of this run is under way, unless that one is to be used.
    """
    connection = supervisor.connection
    run_id, _ = runs.find_run(connection, ask.run)
    if ask.reuse != "none" and (found := there_is(connection, run_id, ask)) is not None:
        return found
    with transaction(connection):
        answer = queue(connection, run_id, ask)
    supervisor.touch()
    return answer


def there_is(connection: Connection, run_id: int, ask: Check) -> CheckAnswer | None:
    """Return the check that was made or is under way as it is asked for, or the job that must end before it.

    None where it can be queued now. Raises as `check`.
    """
    row, recipe = runs.row(connection, run_id), runs.recipe(connection, run_id)
    accepts.writes_text(row)
    name = row.name
    settings = own_settings(ask.general, recipe)
    under_way = [job for job in jobs.of_run(connection, run_id) if job.is_under_way]
    checking = next((job for job in under_way if job.verb == "check"), None)
    making = next((job for job in under_way if job.verb in data.MAKES_A_RUN), None)
    if making is not None and ask.step is None and _is_for_its_end(connection, run_id, recipe, making):
        return CheckAnswer(making.id, name, 0, "after")
    step, _ = store.newest_checkpoint(connection, run_id, ask.step)
    if checking is not None:
        given = checking.args
        is_this = (given["step"], given.get("general", {}), given.get("more")) == (step, settings, ask.more)
        return CheckAnswer(checking.id, name, given["step"], "under_way" if is_this else "after")
    made = _made(connection, run_id, step, regression_step.wanted_settings(recipe, settings))
    if made is None:
        return None
    if ask.more is not None:
        is_enough = not _has_more(made, ask.more)
    else:  # what could not be measured may be there by now
        is_enough = ask.reuse == "made" and not made.get("target_failed")
    return CheckAnswer(0, name, step, "made", made["check_id"]) if is_enough else None


def _is_for_its_end(connection: Connection, run_id: int, recipe: dict[str, Any], making: data.JobRow) -> bool:
    """Return True if "did the run forget?" has its answer at the run's end: it has nothing yet, or is checked then."""
    is_held = any(job.held for job in jobs.queued(connection) if job.id == making.id)
    is_checked_then = store.is_wanted_at_end(recipe) and not is_held
    return is_checked_then or not store.has_checkpoint(connection, run_id)


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
    made = _made(connection, run_id, step, wanted)
    if made is not None and not _has_more(made, more):
        what = ", ".join(more) or "the suite"
        raise Refused(f"every item of {what} has been scored.", hint="Try another suite: --suite.")


def _made(connection: Connection, run_id: int, step: int, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Return the newest check of a step that was made under these settings."""
    return regression_step.comparable(store.results(connection, run_id), wanted).get(step)


def _has_more(made: dict[str, Any], more: list[str]) -> bool:
    """Return True if items of some tasks (none named: of any) were not scored. Raises NotFound for no such task."""
    tasks = {task["task"]: task for task in made["tasks"] if task["mark"] != "unmeasurable"}
    for name in more:
        if name not in tasks:
            raise NotFound(
                f"its check has no task {clean_line(name, limit=80)!r}.", hint=did_you_mean(name, tasks)
            )
    return any(tasks[name]["n"] < tasks[name]["total"] for name in more or tasks)


def results(supervisor: Supervisor, ask: Checks) -> ChecksAnswer:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    return ChecksAnswer(store.results(supervisor.connection, run_id))


def flips(supervisor: Supervisor, ask: Flips) -> FlipsAnswer:
    run_id, _ = runs.find_run(supervisor.connection, ask.run)
    return store.flips(supervisor.connection, run_id, ask.check_id, ask.task)


ANSWERS = {Checks: results, Flips: flips, Check: check}
