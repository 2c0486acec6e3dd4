"""Remedies of a run's checkpoint: the available ones, their results, and the job that tries them."""

from __future__ import annotations

from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.check.checked_weights import WEIGHTS_NOW
from finetop.core.errors import BadInput, Refused
from finetop.core.features.remedies import messages, remedies, sql as tried, weights_now as now_of
from finetop.core.features.remedies.choice import best, gained, shares
from finetop.core.features.remedies.price import price
from finetop.core.protocol import accepts, runs as data
from finetop.core.protocol.check_result import MARGIN, read as outcome, worst_first
from finetop.core.store import checks, jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor import saved_checkpoints
from finetop.core.supervisor.gpus.require_usable import require_usable_gpus
from finetop.core.supervisor.queue import checks as queue
from finetop.core.supervisor.state import Supervisor


async def remedies_of(supervisor: Supervisor, ask: messages.Remedies) -> messages.RemediesAnswer:
    """List the remedies for a checkpoint and their results. Raises NotFound, BadInput."""
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    recipe = runs.recipe(connection, run_id)
    accepts.remedies(runs.row(connection, run_id))
    gone = await saved_checkpoints.gone(supervisor, run_id)
    step, _ = checks.newest_checkpoint(connection, run_id, ask.step, gone if ask.step is None else ())
    by_name = tried.of_run(connection, run_id, step)
    states = await now_of.weights_now(supervisor, run_id, by_name, hashes=False)
    own_check = await queue.newest_of(supervisor, run_id, step, hashes=False)
    run_id, name = runs.find_run(connection, ask.run)  # it may have been removed meanwhile
    by_name = {row: result for row, result in by_name.items() if states[row] == "same"}
    rows = [
        _row(candidate, by_name, states.get(candidate.name, "same"))
        for candidate in tried.candidates(connection, run_id, recipe, step, gone)
    ]
    job = _job(connection, run_id, step)
    weights_now: data.Now = "same" if own_check is None else own_check[WEIGHTS_NOW]
    check = checks.newest_result(connection, run_id, step) if weights_now == "same" else None
    base = {} if check is None else _base(check)
    general = (recipe.get("check") or {}).get("general") or {}
    now = _now(by_name, check, step)
    if now is not None:
        metrics = {} if check is None else gained(outcome(check).target)
        now = msgspec.structs.replace(now, kept=now.kept or metrics)
        rows = [_with_kept(row, base, now.target, now.kept) for row in rows]
    best_row = best(rows)
    outcomes = [outcome(result) for result in checks.results(connection, run_id)]
    price_s = price(list(by_name.values()), tried.of_base(connection, run_id), outcomes)
    return messages.RemediesAnswer(
        run=name,
        step=step,
        metric=_metric(recipe, base),
        base=base,
        margin=float(general.get("margin", MARGIN)),
        now=now,
        now_by="choosing" if tried.NOW in by_name else "check",
        rows=rows,
        retrainings=_retrainings(connection, run_id, recipe),
        best="" if best_row is None else best_row.name,
        job=None if job is None else data.without_log(job.state),
        job_id=None if job is None else job.id,
        trying=[] if job is None else [str(candidate["name"]) for candidate in job.args["candidates"]],
        price_s=price_s,
        confirming_s=price_s or 0.0,
        weights_now=weights_now,
    )


async def remedy(supervisor: Supervisor, ask: messages.Remedy) -> messages.RemedyAnswer:
    """Queue a job that tries remedies, before training.

    Raises NotFound for an unknown one, Refused for none, BadInput if the checkpoint changed since its newest check.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    recipe = runs.recipe(connection, run_id)
    accepts.remedy(runs.row(connection, run_id))
    await require_usable_gpus(supervisor, [recipe])
    gone = await saved_checkpoints.gone(supervisor, run_id)
    step, path = checks.newest_checkpoint(connection, run_id, ask.step, gone)
    if outdated := await queue.outdated(supervisor, run_id, step):
        raise BadInput(outdated, hint="Check it first: a remedy fixes what a check found.")
    run_id, name = runs.find_run(connection, ask.run)  # it may have been removed meanwhile
    accepts.remedy(runs.row(connection, run_id))  # another may have been queued meanwhile
    picked = remedies.chosen(tried.candidates(connection, run_id, recipe, step, gone), ask.only)
    if not picked:
        hint = f"See `finetop remedy {name} --list`."
        raise Refused(f"no remedy is available for {name} without training.", hint=hint)
    others = {one.step for one in picked} - {step}
    paths = {at: checks.newest_checkpoint(connection, run_id, at, gone)[1] for at in others} | {step: path}
    candidates = [{**msgspec.to_builtins(one), "checkpoint": paths[one.step]} for one in picked]
    args: dict[str, Any] = {"step": step, "checkpoint": path, "candidates": candidates}
    with transaction(connection):
        job_id, _ = jobs.add_job(connection, run_id=run_id, verb="remedy", args=args)
    supervisor.touch()
    return messages.RemedyAnswer(job_id, name, step, [candidate.name for candidate in picked])


def _row(
    candidate: messages.Candidate, by_name: dict[str, data.RemedyRow], weights_now: data.Now
) -> data.RemedyRow:
    """Return a candidate's row: its results if it was tried on the weights that there are now."""
    about = remedies.load(candidate.remedy).about
    row = by_name.get(candidate.name)
    if row is None:
        names = (candidate.name, candidate.remedy, candidate.label)
        row = data.RemedyRow(*names, candidate.step, dict(candidate.settings))
    return msgspec.structs.replace(row, about=about, why_not=candidate.why_not, weights_now=weights_now)


def _job(connection: Connection, run_id: int, step: int) -> data.JobRow | None:
    """Return the newest job that tries remedies of a checkpoint, or None."""
    newest_first = reversed(jobs.of_run(connection, run_id, "remedy"))
    return next((job for job in newest_first if job.args.get("step") == step), None)


def _base(result: dict[str, Any]) -> dict[str, float]:
    return {metric: float(score["base"]) for metric, score in result.get("target", {}).items()}


def _now(
    by_name: dict[str, data.RemedyRow], check: dict[str, Any] | None, step: int
) -> data.RemedyRow | None:
    """Return the checkpoint's own score on the selection items, or from its newest check."""
    if tried.NOW in by_name or check is None or check["step"] != step:
        return by_name.get(tried.NOW)
    read = outcome(check)
    return data.RemedyRow(
        name=tried.NOW,
        remedy=tried.NOW,
        label=tried.NOW,
        step=step,
        verdict=read.verdict,
        reason=read.reason,
        target={metric: score.tuned for metric, score in read.target.items()},
        drop=tried.points(read.drop),
        interval=tried.interval(read.interval),
        decided=tried.interval(read.deciding_interval),
        items_used=read.items_used,
        items_total=read.items_total,
        worst=[data.TaskBrief(task.task, 100 * (task.drop or 0.0), task.mark) for task in worst_first(read)],
        at=check["at"],
    )


def _with_kept(
    row: data.RemedyRow, base: dict[str, float], now: dict[str, float], metrics: dict[str, float]
) -> data.RemedyRow:
    """Add the share kept of each gain to a row from before that was recorded."""
    kept = row.kept or shares(row.target, base, now, metrics)
    return msgspec.structs.replace(row, kept=kept, gain=min(kept.values(), default=row.gain))


def _metric(recipe: dict[str, Any], base: dict[str, float]) -> str:
    """Return the metric shown first: the target's first."""
    metrics = ((recipe.get("check") or {}).get("target") or {}).get("metric") or []
    return str(metrics if isinstance(metrics, str) else next(iter(metrics or base), ""))


def _retrainings(connection: Connection, run_id: int, recipe: dict[str, Any]) -> list[messages.RetrainingRow]:
    state = runs.row(connection, run_id).state
    took = state.ended - state.since if isinstance(state, data.Finished) else None
    return [msgspec.structs.replace(retraining, price_s=took) for retraining in remedies.retrainings(recipe)]


ANSWERS = {messages.Remedies: remedies_of, messages.Remedy: remedy}
