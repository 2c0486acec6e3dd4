"""The import job's process: `python -m finetop.core.models.imports JOB_FOLDER`, started by a keeper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetop.core.errors import BadInput
from finetop.core.models.imports.adopt import adopt
from finetop.core.protocol.events import Ended
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.load import recipe_from_json
from finetop.core.runtime import job_process
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_folder import home_of, run_folder_of

if TYPE_CHECKING:
    from finetop.core.runtime.stop_signal import Stop

PACKAGES = ("finetop", "torch", "transformers", "peft")


def main() -> int:
    """Run the job in the folder that the command line names."""
    return job_process.run("finetop.core.models.imports", work, if_stopped="asked to stop")


def work(spec: JobSpec, job_folder: Path, events: EventLog, stop: Stop) -> Ended:
    """Say that it was made elsewhere, then adopt it."""
    job_process.tell_start(events, job_folder, device="made elsewhere", dtype="", packages=PACKAGES)
    recipe = recipe_from_json(msgspec.json.encode(spec.recipe), "job.json", to_train=False)
    path = spec.args.get("path")
    if not isinstance(path, str) or not Path(path).is_absolute():
        raise BadInput(f"job.json: args.path is {path!r}.", hint="Give an absolute path.")
    adopt(
        recipe,
        Path(path),
        copy=spec.args.get("copy") is True,
        run_folder=run_folder_of(job_folder),
        home=Home(home_of(job_folder)),
        events=events,
    )
    return Ended("finished")


if __name__ == "__main__":
    raise SystemExit(main())
