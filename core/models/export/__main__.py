"""The export job's process: `python -m finetop.core.models.export JOB_FOLDER`, started by a keeper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput
from finetop.core.protocol.events import Ended
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.load import recipe_from_json
from finetop.core.runtime import job_process
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_folder import home_of, run_folder_of

if TYPE_CHECKING:
    from finetop.core.models.export.export import Remedied, Wanted
    from finetop.core.runtime.stop_signal import Stop

PACKAGES = ("finetop", "torch", "transformers", "peft")


def main() -> int:
    """Run the job in the folder that the command line names."""
    return job_process.run(
        "finetop.core.models.export", work, if_stopped="asked to stop; nothing was written"
    )


def work(spec: JobSpec, job_folder: Path, events: EventLog, stop: Stop) -> Ended:
    """Say who runs on what, then export."""
    from finetop.core.models import devices
    from finetop.core.models.export import export
    from finetop.core.train.train import quiet

    quiet()
    device = devices.pick_device()
    wanted = wanted_of(spec, job_folder, device)
    job_process.tell_start(
        events, job_folder, device=devices.describe_device(device), dtype=wanted.dtype, packages=PACKAGES
    )
    export.export(wanted, Home(home_of(job_folder)), events)
    return Ended("finished")


def wanted_of(spec: JobSpec, job_folder: Path, device: str) -> Wanted:
    """Read what is exported and to where. Raises BadInput."""
    from finetop.core.models.export.export import Wanted

    relative, step, to = (spec.args.get(key) for key in ("checkpoint", "step", "to"))
    fine = isinstance(relative, str) and not Path(relative).is_absolute() and ".." not in Path(relative).parts
    if not fine or not isinstance(step, int) or not isinstance(to, str) or not Path(to).is_absolute():
        raise BadInput(f"job.json: args are {spec.args!r}.", hint="Name a checkpoint, its step and a folder.")
    return Wanted(
        recipe=recipe_from_json(msgspec.json.encode(spec.recipe), "job.json", to_train=False),
        run_name=spec.run_name,
        step=step,
        checkpoint=run_folder_of(job_folder) / str(relative),
        to=Path(to),
        dtype=str(spec.args.get("dtype", "auto")),
        device=device,
        remedy=remedy_of(spec),
    )


def remedy_of(spec: JobSpec) -> Remedied | None:
    """Read which remedy's model is exported, and what was scored of it. Raises BadInput."""
    from finetop.core.models.export.export import Remedied
    from finetop.core.remedies.__main__ import candidate_of

    facts = spec.args.get("remedy")
    if facts is None:
        return None
    if not isinstance(facts, dict):
        raise BadInput(f"job.json: args.remedy is {facts!r}.")
    return Remedied(candidate_of(facts), str(facts.get("weights", "")))


if __name__ == "__main__":
    raise SystemExit(main())
