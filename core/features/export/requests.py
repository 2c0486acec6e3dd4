"""Requests to export: what may be written, where, and what it is asked afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duckdb import DuckDBPyConnection as Connection

from finetop.core.check.checked_weights import WEIGHTS_NOW
from finetop.core.errors import BadInput, Refused
from finetop.core.features.export.messages import Export, ExportAnswer
from finetop.core.features.remedies import sql as remedies, weights_now, wording as remedy_wording
from finetop.core.models.llama_cpp.quants import quants_of
from finetop.core.plugins import writes_text
from finetop.core.protocol import accepts, check_result
from finetop.core.runtime import parts
from finetop.core.store import checks, jobs, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor import saved_checkpoints
from finetop.core.supervisor.gpus.require_usable import require_usable_gpus
from finetop.core.supervisor.queue import checks as queued_checks
from finetop.core.supervisor.requests import parent_runs as ancestry, submit
from finetop.core.supervisor.state import Supervisor
from finetop.core.wording import verdicts

THERE = "Give its path there: the command gets the PATH of that machine's supervisor, or of command.env."


async def export(supervisor: Supervisor, ask: Export) -> ExportAnswer:
    """Queue the export of a run's checkpoint as a whole model, GGUF files or an adapter, ahead of queued training.

    Raises NotFound for an unknown checkpoint, BadInput for a model that can't be merged, a run without an adapter, an
    invalid folder or an unknown format, Refused for an existing folder, EnvironmentTrouble without llama.cpp.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    accepts.tensors(runs.recipe(connection, run_id)["method"]["name"], name)
    gone = await saved_checkpoints.gone(supervisor, run_id)
    step, path = checks.newest_checkpoint(connection, run_id, ask.step, () if ask.remedy else gone)
    require = ancestry.require_adapter if ask.adapter else ancestry.require_whole
    require(runs.recipe(connection, run_id), name)
    target = submit.absolute(ask.to, "to")
    if target.exists() or target.is_symlink():
        raise Refused(
            f"{target} already exists and is not overwritten.",
            hint="Give another folder: --to DIR.",
        )
    args: dict[str, Any] = {"step": step, "checkpoint": path, "to": str(target), "dtype": ask.dtype}
    if ask.adapter and (ask.remedy or ask.dtype != "auto"):
        raise BadInput(
            "an adapter is exported as it was trained.", hint="Leave --remedy and --dtype out, or --adapter."
        )
    if ask.adapter:
        args["adapter"] = True
    if ask.quants:
        args["quants"] = gguf_formats(ask, runs.recipe(connection, run_id), name)
        args |= {"anyway": True} if ask.anyway else {}
        args |= asked_items(connection, ask, run_id, f"{name}@{step}", step)
    elif ask.unchecked or ask.anyway:
        raise BadInput("only GGUF files get a verdict.", hint="Give --to gguf or --quant, or leave it out.")
    if ask.remedy:
        tried = remedies.of_run(connection, run_id, step)
        now = await weights_now.weights_now(supervisor, run_id, tried, hashes=True)
        state = now.get(ask.remedy, "same")
        args["remedy"] = remedies.for_export(connection, run_id, step, ask.remedy, gone, state)
        _, args["checkpoint"] = checks.newest_checkpoint(connection, run_id, args["remedy"]["step"], gone)
        args["verdict"] = " ".join(remedy_wording.own_verdict(tried[ask.remedy]))
        warning = remedy_wording.regression_of(f"{name}@{step} with {ask.remedy}", tried[ask.remedy])
    else:
        warning = await warning_of(supervisor, run_id, f"{name}@{step}", step)
    if not ask.adapter:
        await require_usable_gpus(supervisor, [runs.recipe(connection, run_id)])
    run_id, _ = runs.find_run(connection, ask.run)  # it may have been removed meanwhile
    args |= {"warning": warning} if warning else {}
    with transaction(connection):
        job_id, _ = jobs.add_job(
            connection, run_id=run_id, verb="export", args=args, priority=jobs.CHECK_PRIORITY
        )
    supervisor.touch()
    return ExportAnswer(job_id, name, step, warning)


async def warning_of(supervisor: Supervisor, run_id: int, name: str, step: int) -> str:
    """Return in words that a checkpoint regressed by its own newest check, or is no longer what that was of."""
    result = await queued_checks.newest_of(supervisor, run_id, step)
    if result is None:
        return ""
    regression = verdicts.regression(name, check_result.brief(0, result["at"], step, result))
    return verdicts.outdated(name, result[WEIGHTS_NOW]) or regression


def asked_items(connection: Connection, ask: Export, run_id: int, name: str, step: int) -> dict[str, Any]:
    """Return how the checkpoint was checked, which decides what its files are asked; or why they aren't asked."""
    if ask.unchecked:
        return {"unasked": "--no-check"}
    result = checks.newest_result(connection, run_id, step)
    if result is None or result["step"] != step:
        return {"unasked": f"{name} has no check to compare with (finetop check {name})"}
    return {"general": result.get("general") or {}}


def gguf_formats(ask: Export, recipe: Mapping[str, Any], name: str) -> str:
    """Return the formats of GGUF files, separated by commas. Raises BadInput, EnvironmentTrouble."""
    if ask.adapter:
        raise BadInput("an adapter is no GGUF file.", hint="Leave --adapter out, or --to gguf and --quant.")
    if not writes_text(recipe["objective"]["name"]):
        raise BadInput(f"{name} is a reward model, which llama.cpp can't run.", hint="Leave --to gguf out.")
    formats = ",".join(quants_of(ask.quants))
    for package in ("gguf", "llama_cpp_py_sync"):
        parts.require(package)
    return formats


ANSWERS = {Export: export}
