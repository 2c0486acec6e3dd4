"""The check job: reads from job.json what to check, and writes the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.check import run_check
from finetop.core.errors import BadInput
from finetop.core.models import devices
from finetop.core.protocol.events import Ended, Verdict
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.schema import General, Recipe
from finetop.core.wording import verdicts

if TYPE_CHECKING:
    from finetop.core.recipe.job import Job

PACKAGES = ("finetop", "torch", "transformers", "peft", "lm_eval")
IF_STOPPED = "asked to stop; what was scored is kept"


def work(job: Job) -> Ended:
    """Report device and versions, then check."""
    device, step = devices.open_device(job.gpu_gib), job.args.get("step")
    job.started(devices.describe_device(device), devices.number_format(job.dtype, None, device), PACKAGES)
    recipe = with_settings(job.recipe(), settings_of(job.spec))
    checkpoint = job.inside(job.args.get("checkpoint"))
    claim, watch = claim_of(job.spec)
    how: dict[str, Any] = {"claim": claim, "watch": watch, "more": more_of(job.spec)}
    events, run_folder = job.events, job.run_folder
    checked = run_check.check(recipe, checkpoint, job.home, device, events, **how, run_folder=run_folder)
    step = step if isinstance(step, int) else None
    checked = msgspec.structs.replace(checked, step=step, checkpoint=job.args["checkpoint"])
    job.events.write(Verdict(step, msgspec.to_builtins(checked)))
    print(verdicts.report(job.spec.run_name, checked), flush=True)
    return Ended("finished")


def claim_of(spec: JobSpec) -> tuple[int, bool]:
    """Read which claim of the run this is (0: its only one), and whether it is a watch without a claim."""
    claim = spec.args.get("claim", 0)
    return (claim if isinstance(claim, int) and claim >= 0 else 0), bool(spec.args.get("watch", False))


def more_of(spec: JobSpec) -> list[str] | None:
    """Read the tasks whose items are all scored ([]: all tasks); None stops once decided. Raises BadInput."""
    try:
        return msgspec.convert(spec.args.get("more"), list[str] | None)
    except msgspec.ValidationError as error:
        raise BadInput(f"job.json: args.more: {error}.", hint="Name tasks of its suite.") from error


def settings_of(spec: JobSpec) -> dict[str, object]:
    """Read the settings of check.general that this check overrides. Raises BadInput."""
    given = spec.args.get("general") or {}
    try:
        general = msgspec.convert(given, General)
    except msgspec.ValidationError as error:
        raise BadInput(f"job.json: args.general: {error}.", hint="See `finetop check --help`.") from error
    return {key: getattr(general, key) for key in given}


def with_settings(recipe: Recipe, settings: dict[str, object]) -> Recipe:
    """Apply a check's own settings over the recipe's check.general."""
    if not settings:
        return recipe
    general = msgspec.structs.replace(recipe.check.general or General(), **settings)
    return msgspec.structs.replace(recipe, check=msgspec.structs.replace(recipe.check, general=general))
