"""The remedy job's process: `python -m finetop.core.remedies JOB_FOLDER`, started by a keeper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core import remedies
from finetop.core.errors import BadInput
from finetop.core.protocol.events import Ended
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.load import recipe_from_json
from finetop.core.runtime import job_process
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.runtime.job_folder import home_of, run_folder_of

if TYPE_CHECKING:
    from finetop.core.remedies._trial import Wanted
    from finetop.core.runtime.stop_signal import Stop

PACKAGES = ("finetop", "torch", "transformers", "peft", "lm_eval")


def main() -> int:
    """Run the job in the folder that the command line names."""
    return job_process.run("finetop.core.remedies", work, if_stopped="asked to stop; what was scored is kept")


def work(spec: JobSpec, job_folder: Path, events: EventLog, stop: Stop) -> Ended:
    """Say who runs on what, then try the candidates."""
    from finetop.core.models import devices
    from finetop.core.remedies import _trial
    from finetop.core.train.train import quiet

    quiet()
    device = devices.pick_device()
    dtype = str(spec.recipe.get("model", {}).get("dtype", ""))
    job_process.tell_start(
        events, job_folder, device=devices.describe_device(device), dtype=dtype, packages=PACKAGES
    )
    for row in _trial.try_all(wanted_of(spec, job_folder, device), Home(home_of(job_folder)), events):
        print(f"{row.label}: {row.verdict}", flush=True)
    return Ended("finished")


def wanted_of(spec: JobSpec, job_folder: Path, device: str) -> Wanted:
    """Read what is tried. Raises BadInput."""
    from finetop.core.remedies._trial import Wanted

    step, run_folder = spec.args.get("step"), run_folder_of(job_folder)
    found = spec.args.get("candidates")
    if not isinstance(step, int) or not isinstance(found, list):
        raise BadInput(
            f"job.json: args are {spec.args!r}.", hint="Name a step, its checkpoint and candidates."
        )
    return Wanted(
        recipe=recipe_from_json(msgspec.json.encode(spec.recipe), "job.json", to_train=False),
        step=step,
        checkpoint=run_folder / inside(spec.args.get("checkpoint")),
        candidates=[(candidate_of(one), run_folder / inside(one.get("checkpoint"))) for one in found],
        device=device,
    )


def candidate_of(facts: dict[str, Any]) -> remedies.Candidate:
    """Read one candidate. Raises BadInput."""
    try:
        kept = {key: facts[key] for key in ("name", "remedy", "label", "step", "settings")}
        return msgspec.convert(kept, remedies.Candidate)
    except (KeyError, msgspec.ValidationError) as error:
        raise BadInput(f"job.json: a candidate can't be read ({error}).") from error


def inside(path: object) -> str:
    """Read the place of a checkpoint, which lies in the run's folder. Raises BadInput."""
    if not isinstance(path, str) or not path or Path(path).is_absolute() or ".." in Path(path).parts:
        raise BadInput(f"job.json: {path!r} is no folder inside of the run's.")
    return path


if __name__ == "__main__":
    raise SystemExit(main())
