"""The check job's process: `python -m finetop.core.check JOB_FOLDER`, started by a keeper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput
from finetop.core.protocol.events import Ended, Verdict
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.load import recipe_from_json
from finetop.core.recipe.schema import General
from finetop.core.runtime import job_process
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_folder import home_of, run_folder_of

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.stop_signal import Stop

PACKAGES = ("finetop", "torch", "transformers", "peft", "lm_eval")


def main() -> int:
    """Run the job in the folder that the command line names."""
    return job_process.run("finetop.core.check", work, if_stopped="asked to stop; what was scored is kept")


def work(spec: JobSpec, job_folder: Path, events: EventLog, stop: Stop) -> Ended:
    """Say who runs on what, then check."""
    from finetop.core.check import run_check as checking
    from finetop.core.models import devices
    from finetop.core.protocol import check_result

    device = devices.pick_device()
    dtype = str(spec.recipe.get("model", {}).get("dtype", ""))
    job_process.tell_start(
        events, job_folder, device=devices.describe_device(device), dtype=dtype, packages=PACKAGES
    )
    recipe = with_settings(
        recipe_from_json(msgspec.json.encode(spec.recipe), "job.json", to_train=False), settings_of(spec)
    )
    relative, step = checkpoint_of(spec)
    run_folder = run_folder_of(job_folder)
    claim, watch = claim_of(spec)
    home = Home(home_of(job_folder))
    found = checking.check(
        recipe,
        run_folder / relative,
        home,
        device,
        events,
        claim=claim,
        watch=watch,
        more=more_of(spec),
        run_folder=run_folder,
    )
    general = msgspec.to_builtins(recipe.check.general or General())
    found = {**found, "step": step, "checkpoint": relative, "general": general}
    events.write(Verdict(step, found))
    print(check_result.report(spec.run_name, found), flush=True)
    return Ended("finished")


def checkpoint_of(spec: JobSpec) -> tuple[str, int | None]:
    """Read which checkpoint is checked, relative to the run's folder, and its step. Raises BadInput."""
    path, step = spec.args.get("checkpoint"), spec.args.get("step")
    if not isinstance(path, str) or not path or Path(path).is_absolute() or ".." in Path(path).parts:
        raise BadInput(f"job.json: args.checkpoint is {path!r}.", hint="Name a folder inside of the run's.")
    return path, step if isinstance(step, int) else None


def claim_of(spec: JobSpec) -> tuple[int, bool]:
    """Read which claim of the run this is (0: its only one), or that it is a mere look."""
    claim = spec.args.get("claim", 0)
    return (claim if isinstance(claim, int) and claim >= 0 else 0), bool(spec.args.get("watch", False))


def more_of(spec: JobSpec) -> list[str] | None:
    """Read of which tasks every item is asked ([]: of all); None where it stops once it is decided. Raises BadInput."""
    try:
        return msgspec.convert(spec.args.get("more"), list[str] | None)
    except msgspec.ValidationError as error:
        raise BadInput(f"job.json: args.more: {error}.", hint="Name tasks of its suite.") from error


def settings_of(spec: JobSpec) -> dict[str, object]:
    """Read the settings of check.general that this check has of its own. Raises BadInput."""
    given = spec.args.get("general") or {}
    try:
        general = msgspec.convert(given, General)
    except msgspec.ValidationError as error:
        raise BadInput(f"job.json: args.general: {error}.", hint="See `finetop check --help`.") from error
    return {key: getattr(general, key) for key in given}


def with_settings(recipe: Recipe, settings: dict[str, object]) -> Recipe:
    """Lay a check's own settings over the recipe's check.general."""
    if not settings:
        return recipe
    general = msgspec.structs.replace(recipe.check.general or General(), **settings)
    return msgspec.structs.replace(recipe, check=msgspec.structs.replace(recipe.check, general=general))


if __name__ == "__main__":
    raise SystemExit(main())
